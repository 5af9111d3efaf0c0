"""How near label-only attacks come: median L2 at 500, 1,000 and 5,000 queries a photo, against foolbox and ART.

    python benchmarks/attack_strength.py --bundle DIR --images DIR [--photos 32] [--long-photos 32] [--attacks auto,...]

All attack the same endpoint over the same HTTP, the same rightly answered photos, with no spatial map first, on the
uint8 lattice: a foolbox or ART probe is rounded before it is sent, and a distance is measured to the rounded picture.
Only the first `--long-photos` go on to 5,000 queries. Peers run with their defaults; their start is a photo of the
other class, found at no cost. Ours looks for its start among the same photos and pays for it. `--keep FILE` keeps every
curve by weights, contender, photo, budget and code, and takes from it what is there already: ours is asked again after
a change of attack/decision, a peer after one of its version. Needs foolbox 3.3.4 and ART 1.20.1.
Prints JSON; --json FILE keeps it.
"""

import argparse
import hashlib
import json
import math
import tempfile
import time
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from attack_harness import ROOT, machine, serving_bundle, told
from attack_peers import PEERS, Curve, run_peer

from attack.campaign import Campaign
from attack.oracle import RemoteOracle
from attack.settings import Settings
from attack.starts import Starts
from attack.wire.client import Client
from model.labels import CLASSES
from model.photos import Photo, find_photos
from model.pixels import load_square

BUDGETS = (500, 1000, 5000)
SHORT, LONG = 1000, 5000


class Kept:
    """Curves on disk: a line of JSON each."""

    def __init__(self, file: Path | None, weights: str) -> None:
        self.file, self.weights = file, weights
        lines = file.read_text().splitlines() if file and file.exists() else []
        self.curves = {tuple(key): curve for key, curve in map(json.loads, lines)}

    def missing(self, contender: str, budgets: dict[Photo, int]) -> dict[Photo, int]:
        """The smallest budgets first: theirs are the first curves to be there."""
        known = {p for p, budget in budgets.items() if self._key(contender, p, budget) in self.curves}
        return dict(sorted(((p, b) for p, b in budgets.items() if p not in known), key=lambda item: item[1]))

    def put(self, contender: str, photo: Photo, budget: int, curve: Curve) -> None:
        key = self._key(contender, photo, budget)
        self.curves[key] = curve
        if self.file:
            with self.file.open("a") as stream:
                stream.write(json.dumps([key, curve]) + "\n")

    def of(self, contender: str, budgets: dict[Photo, int]) -> dict[Photo, Curve]:
        return {photo: self.curves[self._key(contender, photo, budget)] for photo, budget in budgets.items()}

    def _key(self, contender: str, photo: Photo, budget: int) -> tuple[str, str, str, int, str]:
        return self.weights, contender, photo.name, budget, code_of(contender)


@cache
def code_of(contender: str) -> str:
    """What a contender's curves depend on: its package and version, or a hash of our attacks."""
    for name, package in (("foolbox", "foolbox"), ("ART", "adversarial-robustness-toolbox")):
        if contender.startswith(name):
            return f"{package} {version(package)}"
    sources = sorted((ROOT / "attack" / "decision").glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def chosen(client: Client, images: Path, limit: int) -> list[Photo]:
    """`limit` photos that the endpoint answers rightly, half of each class, interleaved."""
    right: dict[int, list[Photo]] = {label: [] for label in range(len(CLASSES))}
    for photo in find_photos(images, len(find_photos(images)), seed=0):
        enough = len(right[photo.label]) >= limit // 2
        if not enough and client.predict_batch(load_square(photo.path, client.info.input_size)[None]) == [
            CLASSES[photo.label]
        ]:
            right[photo.label].append(photo)
    return [photo for pair in zip(*right.values(), strict=True) for photo in pair]


def run_peers(name: str, client: Client, photos: list[Photo], budgets: dict[Photo, int], kept: Kept) -> None:
    """A start is a photo of the other class, the same for every peer."""
    side, missing = client.info.input_size, kept.missing(name, budgets)
    starts = {photo: photos[place + 1 - 2 * (place % 2)] for place, photo in enumerate(photos)}
    tasks = [(load_square(p.path, side), load_square(starts[p].path, side), p.label, missing[p]) for p in missing]
    for photo, curve in zip(missing, run_peer(PEERS[name](), client, tasks), strict=True):
        kept.put(name, photo, missing[photo], curve)


def run_ours(attack: str, client: Client, images: Path, budgets: dict[Photo, int], kept: Kept) -> None:
    missing = kept.missing(attack, budgets)
    for budget in sorted(set(missing.values())):
        with tempfile.TemporaryDirectory() as out:
            settings = Settings(attack=attack, max_queries=budget, max_l2=1e9, spatial="none")
            campaign = Campaign(RemoteOracle(client), images, settings, Path(out))
            campaign.photos = [photo for photo in missing if missing[photo] == budget]
            campaign.starts = Starts(list(budgets), campaign.oracle.input_size)
            curves = {image["image"]: image["curve"] for image in campaign.run(client.url)["images"]}
        for photo in campaign.photos:
            kept.put(attack, photo, budget, curves[photo.name])


def row(curves: dict[Photo, Curve], budgets: dict[Photo, int]) -> dict[str, float | None]:
    """Median at each budget, over the photos that were given so many queries."""
    result: dict[str, float | None] = {}
    for queries in BUDGETS:
        found = [at(curve, queries) for photo, curve in curves.items() if budgets[photo] >= queries]
        if found:
            median = float(np.median(found))
            result[str(queries)] = round(median, 4) if math.isfinite(median) else None
    return result


def at(curve: Curve, queries: int) -> float:
    """Nearest L2 after so many queries; infinity before the first."""
    return min((l2 for spent, l2 in curve if spent <= queries), default=math.inf)


def measure(given: argparse.Namespace) -> dict:
    rows, seconds = {}, {}
    weights = hashlib.sha256((given.bundle / "model.safetensors").read_bytes()).hexdigest()
    kept = Kept(given.keep, weights)
    attacks, peers = given.attacks.split(","), [name for name in given.peers.split(";") if name]
    with serving_bundle(given.bundle) as url, Client(url) as client:
        photos = chosen(client, given.images, given.photos)
        budgets = {photo: LONG if place < given.long_photos else SHORT for place, photo in enumerate(photos)}
        for name in [*attacks, *peers]:
            began = time.monotonic()
            if name in peers:
                run_peers(name, client, photos, budgets, kept)
            else:
                run_ours(name, client, given.images, budgets, kept)
            rows[name], seconds[name] = row(kept.of(name, budgets), budgets), round(time.monotonic() - began, 1)
            print(name, rows[name], seconds[name], flush=True)
        side = client.info.input_size
    return {
        "benchmark": "attack strength, median L2 by queries a photo",
        "median_l2": rows,
        **ratios(rows, attacks[0], peers),
        "photos": {str(q): sum(budget >= q for budget in budgets.values()) for q in BUDGETS},
        "seconds": seconds,
        "config": {
            "model": given.name or given.bundle.name,
            "weights_sha256": weights,
            "side": side,
            "lattice": "uint8",
        },
        **machine("foolbox", "adversarial-robustness-toolbox", "numpy", "onnxruntime"),
    }


def ratios(rows: dict[str, dict], ours: str, peers: list[str]) -> dict:
    """Ours over the best peer, and over each."""
    over = {name: {q: _ratio(rows[ours][q], rows[name][q]) for q in rows[ours]} for name in peers}
    best = {q: max((over[name][q] for name in peers), default=None) for q in rows[ours]}
    return {"ours_over_best_peer": best, "ours_over": over}


def _ratio(ours: float | None, peer: float | None) -> float:
    return round((ours or math.inf) / peer, 3) if peer else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--name", default="bundle", help="of the model, for the report")
    parser.add_argument("--photos", type=int, default=32, help="even: half of each class")
    parser.add_argument("--long-photos", type=int, default=32, help="of them, how many get 5,000 queries")
    parser.add_argument("--attacks", default="auto", help="the first is what is compared")
    parser.add_argument("--peers", default=";".join(PEERS), help="separated by semicolons")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    told(measure(given), given.json)


if __name__ == "__main__":
    main()
