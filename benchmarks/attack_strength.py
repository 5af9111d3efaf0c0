"""How near label-only attacks come: median L2 at 500, 1,000 and 5,000 queries a photo, against foolbox and ART.

    python benchmarks/attack_strength.py --bundle DIR --images DIR [--photos 32] [--budget 5000] [--attacks auto,...]

All attack the same endpoint over the same HTTP, the same correctly answered photos, from no spatial map, on the uint8
lattice: a foolbox or ART probe is rounded before it is sent, and a distance is measured to the rounded picture. Peers
run with their defaults but for the budget, foolbox's and ART's starts are photos of the other class, the same for
both. Needs foolbox 3.3.4 and ART 1.20.1 (extra `bench`). Prints JSON; --json FILE keeps it.
"""

import argparse
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attack_harness import machine, serving_bundle

from attack.campaign import Campaign
from attack.oracle import RemoteOracle
from attack.settings import Settings
from attack.wire.client import Client
from model.labels import CLASSES
from model.photos import Photo, find_photos
from model.pixels import Pixels, load_square

BUDGETS = (500, 1000, 5000)


class Spent(Exception):  # noqa: N818
    """A peer has asked as often as it may."""


class Counter:
    """Passes a peer's probes of one photo on to the endpoint, and notes the nearest wrong answer as queries go by."""

    def __init__(self, client: Client, original: Pixels, label: int, budget: int) -> None:
        self.client, self.original, self.label, self.budget = client, original.astype(np.float32), label, budget
        self.info = client.info
        self.queries, self.nearest, self.curve = 0, math.inf, [(0, math.inf)]

    def predict_batch(self, pixels: Pixels) -> list[str]:
        if self.queries >= self.budget:
            raise Spent
        labels = self.client.predict_batch(pixels)
        for picture, label in zip(pixels, labels, strict=True):
            self.queries += 1
            if label == CLASSES[1 - self.label] and self.queries <= self.budget:
                self._note(float(np.linalg.norm(picture.astype(np.float32) - self.original)) / 255)
        return labels

    def _note(self, l2: float) -> None:
        if l2 < self.nearest:
            self.nearest = l2
            self.curve.append((self.queries, l2))


def at(curve: list, queries: int) -> float:
    return min((l2 for spent, l2 in curve if spent <= queries), default=math.inf)


def foolbox_peer(name: str) -> Callable[[Counter, Pixels, int], None]:
    import foolbox
    import torch

    from attack.wire.adapters import foolbox_model

    def run(counter: Counter, start: Pixels, label: int) -> None:
        x = torch.from_numpy(counter.original.transpose(2, 0, 1)[None] / 255)
        begin = torch.from_numpy(start.astype(np.float32).transpose(2, 0, 1)[None] / 255)
        criterion = foolbox.criteria.TargetedMisclassification(torch.tensor([1 - label]))
        getattr(foolbox.attacks, name)().run(foolbox_model(counter), x, criterion, starting_points=begin)

    return run


def art_peer(counter: Counter, start: Pixels, label: int) -> None:
    from art.attacks.evasion import HopSkipJump

    from attack.wire.adapters import art_classifier

    x = counter.original.transpose(2, 0, 1)[None] / 255
    begin = start.astype(np.float32).transpose(2, 0, 1)[None] / 255
    attack = HopSkipJump(art_classifier(counter), targeted=True, norm=2, max_iter=10_000, verbose=False)
    attack.generate(x, y=np.eye(3)[[1 - label]], x_adv_init=begin)


def peers() -> dict[str, Callable[[Counter, Pixels, int], None]]:
    return {
        "foolbox Boundary": foolbox_peer("BoundaryAttack"),
        "foolbox HopSkipJump": foolbox_peer("HopSkipJumpAttack"),
        "ART HopSkipJump": art_peer,
    }


def run_peer(peer: Callable, client: Client, photos: list[Photo], starts: dict[str, Pixels], budget: int) -> list:
    curves = []
    for photo in photos:
        counter = Counter(client, load_square(photo.path, client.info.input_size), photo.label, budget)
        try:
            peer(counter, starts[photo.name], photo.label)
        except Spent:
            pass
        except (AssertionError, ValueError) as error:
            warnings.warn(f"{photo.name}: {error!r} after {counter.queries} queries", stacklevel=1)
        curves.append(counter.curve)
    return curves


def run_ours(attack: str, client: Client, images: Path, names: set[str], budget: int, limit: int) -> list:
    with tempfile.TemporaryDirectory() as out:
        settings = Settings(attack=attack, max_queries=budget, max_l2=1e9, spatial="none", limit=limit)
        results = Campaign(RemoteOracle(client), images, settings, Path(out)).run(client.url)
    return [image["curve"] for image in results["images"] if image["image"] in names]


def chosen(client: Client, images: Path, limit: int) -> tuple[list[Photo], dict[str, Pixels]]:
    """Of `limit` photos those that are answered rightly, and for each a start: a photo answered as the other class."""
    side = client.info.input_size
    photos = find_photos(images, limit, 0)
    answers = client.predict_batch(np.stack([load_square(photo.path, side) for photo in photos]))
    right = [photo for photo, answer in zip(photos, answers, strict=True) if answer == CLASSES[photo.label]]
    rng = np.random.default_rng(0)
    starts = {p.name: load_square(_other(right, p, rng).path, side) for p in right}
    return right, starts


def _other(right: list[Photo], photo: Photo, rng: np.random.Generator) -> Photo:
    others = [other for other in right if other.label != photo.label]
    return others[rng.integers(len(others))]


def row(curves: list) -> dict[str, float]:
    return {str(q): round(float(np.median([at(curve, q) for curve in curves])), 4) for q in BUDGETS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--budget", type=int, default=5000)
    parser.add_argument("--attacks", default="auto")
    parser.add_argument("--peers", default="foolbox Boundary,foolbox HopSkipJump,ART HopSkipJump")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    report = measure(given)
    text = json.dumps(report, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")


def measure(given: argparse.Namespace) -> dict:
    rows, seconds = {}, {}
    with serving_bundle(given.bundle) as url, Client(url) as client:
        photos, starts = chosen(client, given.images, given.photos)
        for attack in given.attacks.split(","):
            began = time.monotonic()
            curves = run_ours(attack, client, given.images, {p.name for p in photos}, given.budget, given.photos)
            rows[f"ours: {attack}"], seconds[f"ours: {attack}"] = row(curves), round(time.monotonic() - began, 1)
        for name, peer in peers().items():
            if name in given.peers.split(","):
                began = time.monotonic()
                rows[name] = row(run_peer(peer, client, photos, starts, given.budget))
                seconds[name] = round(time.monotonic() - began, 1)
        side = client.info.input_size
    best = {q: min(v[q] for k, v in rows.items() if not k.startswith("ours")) for q in next(iter(rows.values()))}
    ours = rows[f"ours: {given.attacks.split(',')[0]}"]
    return {
        "benchmark": "attack strength, median L2 by queries a photo",
        "median_l2": rows,
        "ours_over_best_peer": {q: round(ours[q] / best[q], 3) for q in best},
        "ours_over_foolbox_hopskipjump": {
            q: round(ours[q] / rows["foolbox HopSkipJump"][q], 3) for q in best if "foolbox HopSkipJump" in rows
        },
        "seconds": seconds,
        "config": {"model": given.bundle.name, "side": side, "photos": len(photos), "lattice": "uint8"},
        **machine("foolbox", "adversarial-robustness-toolbox", "numpy", "onnxruntime"),
    }


if __name__ == "__main__":
    main()
