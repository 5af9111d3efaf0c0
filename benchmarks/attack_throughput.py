"""Queries per second against an endpoint with 20 ms delay, and the attacker's own cost: CPU a query, memory.

    python benchmarks/attack_throughput.py [--photos 16] [--queries 1500] [--rounds 3] [--peers]
        [--bundle DIR --images DIR]

1. `throughput`: 16 photos against an endpoint that answers 20 ms late: `free`, which goes by the brightness of noise at
   64 px and costs next to nothing, and with --bundle `network`, which computes on this machine and attacks photos of
   --images. Ours against foolbox HopSkipJump on the same photos (batches of 16, its own way to pool), and against
   what the endpoint can answer: full requests by as many plain connections as ours uses. Median of the rounds, after
   one that warms up.
2. `cpu_ms_per_query`: the attacks at 224 x 224 in process against a rule that costs nothing, CPU time of the process
   with one BLAS thread; the client's share is measured over HTTP and named apart.
3. `memory`: peak resident memory over the process before the first photo, 1,000 photos of 224 x 224.

Prints JSON; --json FILE keeps it. foolbox is needed for --peers alone.
"""

import argparse
import contextlib
import os
import resource
import statistics
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from attack_harness import machine, serving_bundle, told
from attack_strength import chosen
from PIL import Image

from attack.campaign import Campaign
from attack.oracle import RemoteOracle
from attack.settings import Settings
from attack.wire.client import Client
from model.labels import CLASSES
from model.photos import Photo
from model.pixels import load_square

DELAY_MS = 20
NETWORK_IS_SLOWER = 5
"""So many times fewer queries a photo against a network that computes: a round then takes as long."""


def pictures(folder: Path, count: int, side: int) -> Path:
    """Dark and bright noise, half of each."""
    rng = np.random.default_rng(0)
    for number in range(count):
        level, label = ((90, CLASSES[0]), (165, CLASSES[1]))[number % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        pixels = rng.normal(level, 30, (side, side, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / label / f"{number:04}.png")
    return folder


class FreeOracle:
    """Answers at no cost to speak of: only the attacker's own work is left."""

    max_batch, slots, max_slots, identity = 64, 1, 1, None

    def __init__(self, side: int) -> None:
        self.input_size = side
        self.rule_s = 0.0

    def identity_now(self) -> None:
        """Of no name, still."""

    def labels(self, pixels: np.ndarray) -> list[str]:
        began = time.thread_time()
        # Every 97th value tells bright from dark as well as all of them.
        levels = pixels.reshape(len(pixels), -1)[:, ::97].mean(axis=1)
        labels = [CLASSES[int(level > 127.5)] for level in levels]
        self.rule_s += time.thread_time() - began
        return labels

    def label_of_png(self, png: bytes) -> str:
        return self.labels(load_square(png, self.input_size)[None])[0]


def cpu_ms_per_query(side: int, photos: int, queries: int, attacks: list[str]) -> dict[str, float]:
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        images = pictures(Path(folder) / "images", photos, side)
        for attack in attacks:
            oracle = FreeOracle(side)
            settings = Settings(attack=attack, max_queries=queries, spatial="none", max_l2=1e9)
            began = time.process_time()
            results = Campaign(oracle, images, settings, Path(folder) / "out").run("none")
            spent = time.process_time() - began - oracle.rule_s
            costs[attack] = round(1e3 * spent / results["summary"]["queries"], 3)
    return costs


def client_ms_per_query(side: int, batch: int = 27, requests: int = 40) -> float:
    """CPU of this process for sending pictures and reading labels, hashes checked."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    with serving_bundle(None, "--side", str(side)) as url, Client(url) as client:
        client.predict_batch(pixels)
        began = time.process_time()
        for _ in range(requests):
            client.predict_batch(pixels)
        return round(1e3 * (time.process_time() - began) / (batch * requests), 3)


def ours_per_s(url: str, images: Path, photos: list[Photo], queries: int, attack: str) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as out, Client(url) as client:
        settings = Settings(attack=attack, max_queries=queries, spatial="none", max_l2=1e9)
        campaign = Campaign(RemoteOracle(client), images, settings, Path(out))
        campaign.photos = photos
        began = time.monotonic()
        results = campaign.run(url)
        return results["summary"]["queries"] / (time.monotonic() - began), client.pace.slots


def endpoint_per_s(url: str, side: int, connections: int, seconds: float = 4.0) -> float:
    """Full requests from plain connections, nothing else done."""
    stop, answered = time.monotonic() + seconds, []

    def ask() -> None:
        with Client(url, max_slots=1) as client:
            pixels = np.random.default_rng(1).integers(0, 256, (64, side, side, 3), dtype=np.uint8)
            while time.monotonic() < stop:
                client.predict_batch(pixels)
                answered.append(len(pixels))

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / (time.monotonic() - began)


def foolbox_per_s(url: str, photos: list[Photo], queries: int) -> float:
    import foolbox
    import torch

    from attack.wire.adapters import foolbox_model

    class Asked(Exception):  # noqa: N818
        pass

    class Count:
        def __init__(self, client: Client) -> None:
            self.client, self.info, self.asked = client, client.info, 0

        def predict_batch(self, pixels: np.ndarray) -> list[str]:
            self.asked += len(pixels)
            if self.asked > queries:
                raise Asked
            return self.client.predict_batch(pixels)

    with Client(url) as client:
        squares = np.stack([load_square(photo.path, client.info.input_size) for photo in photos])
        x = torch.from_numpy(squares.astype(np.float32).transpose(0, 3, 1, 2) / 255)
        labels = torch.tensor([photo.label for photo in photos])
        criterion = foolbox.criteria.TargetedMisclassification(1 - labels)
        starts = x.roll(1, 0)  # the classes alternate
        counter, began = Count(client), time.monotonic()
        with contextlib.suppress(Asked):
            foolbox.attacks.HopSkipJumpAttack().run(foolbox_model(counter), x, criterion, starting_points=starts)
        return counter.asked / (time.monotonic() - began)


def throughput(url: str, images: Path, queries: int, given: argparse.Namespace) -> dict:
    with Client(url) as client:
        photos, side = chosen(client, images, given.photos), client.info.input_size
    runs = [ours_per_s(url, images, photos, queries, given.attack) for _ in range(given.rounds + 1)][1:]
    slots = max(slots for _, slots in runs)
    limit = [endpoint_per_s(url, side, slots) for _ in range(given.rounds)]
    ours, can = statistics.median(rate for rate, _ in runs), statistics.median(limit)
    result = {
        "ours_per_s": round(ours),
        "endpoint_can_per_s": round(can),
        "ours_over_endpoint": round(ours / can, 3),
        "connections": slots,
    }
    if given.peers:
        peer = statistics.median(foolbox_per_s(url, photos, 2 * queries) for _ in range(given.rounds))
        result |= {"foolbox_hopskipjump_per_s": round(peer), "ours_over_foolbox": round(ours / peer, 1)}
    return result


def throughputs(given: argparse.Namespace) -> dict[str, dict]:
    delay = ("--delay-ms", str(DELAY_MS))
    with tempfile.TemporaryDirectory() as folder, serving_bundle(None, *delay) as url:
        results = {"free": throughput(url, pictures(Path(folder), given.photos, 64), given.queries, given)}
    if given.bundle:
        with serving_bundle(given.bundle, *delay) as url:
            results["network"] = throughput(url, given.images, given.queries // NETWORK_IS_SLOWER, given)
    return results


def memory_mib(photos: int, queries: int, attack: str) -> dict:
    """Peak over what the process held before, with every library already loaded and warm."""
    cpu_ms_per_query(64, 2, 60, [attack])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        images = pictures(Path(folder) / "images", photos, 224)
        settings = Settings(attack=attack, max_queries=queries, spatial="none", max_l2=1e9)
        Campaign(FreeOracle(224), images, settings, Path(folder) / "out").run("none")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"photos": photos, "queries_per_photo": queries, "before": before // 1024, "beyond": (peak - before) // 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--queries", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attack", default="auto")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--images", type=Path, help="photos for --bundle")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.bundle and not given.images:
        parser.error("--bundle needs --images, the photos to attack it on")
    report = {
        "benchmark": "attack throughput and cost",
        "memory_mib": memory_mib(1000, 60, given.attack),
        "throughput": throughputs(given),
        "cpu_ms_per_query": cpu_ms_per_query(224, 8, 600, [given.attack, "boundary", "hopskipjump", "cgba", "surfree"]),
        "client_cpu_ms_per_query": client_ms_per_query(224),
        "config": {
            "delay_ms": DELAY_MS,
            "photos": given.photos,
            "queries": {"free": given.queries, "network": given.queries // NETWORK_IS_SLOWER},
            "rounds": given.rounds,
        },
        **machine("numpy", "httpx", *(["foolbox"] if given.peers else [])),
    }
    told(report, given.json)


if __name__ == "__main__":
    main()
