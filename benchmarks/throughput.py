"""What HTTP costs a ResNet-50 on the CPU: images a second against the runtime alone, waiting times, and memory.

    python benchmarks/throughput.py [--bundle DIR] [--seconds S] [--rounds N]

A round measures the runtime alone at its batch sizes, then the service with the same threads: 32 clients with 224 x 224
JPEGs, then two clients with uint8 batches of 64. The ratios of each round count. After that, JPEGs at 70 % of the
highest rate seen, for the 99th percentile against the time of one full batch. Without a bundle: random weights.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import closed_load, median, open_load, request_bytes, resident_bytes, write_result
from benchmarks.overhead import picture
from tests.live_server import live_server, npy

BATCH, CLIENTS = 64, 32
ALONE = """
import json, sys, time
from pathlib import Path
import numpy as np
from model.runtime import open_runtime
runtime, rates = open_runtime(Path(sys.argv[1])), {}
for size in runtime.batch_sizes:
    pixels = np.random.default_rng(0).integers(0, 256, (size, *2 * [runtime.input_size], 3), np.uint8)
    runtime.run(pixels)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < float(sys.argv[2]):
        runtime.run(pixels)
        count += 1
    rates[size] = count * size / (time.perf_counter() - started)
print(json.dumps(rates))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=10, help="seconds of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or random_bundle(Path(folder) / "bundle")
        result = _measure(bundle, Path(folder), options.rounds, options.seconds)
    config = {"rounds": options.rounds, "seconds": options.seconds, "clients": CLIENTS, "batch": BATCH}
    write_result("throughput", result, config, ["onnxruntime", "fastapi", "uvicorn", "pillow", "numpy"])


def _measure(bundle: Path, folder: Path, rounds: int, seconds: float) -> dict[str, object]:
    jpeg = request_bytes("/predict", "image/jpeg", picture())
    squares = np.random.default_rng(1).integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
    batch = request_bytes("/predict/batch", "application/x-npy", npy(squares))
    alone, single, batched, memory = [], [], [], []
    for _ in range(rounds):
        alone.append(_alone(bundle, seconds))
        with live_server(folder, bundle) as server:
            asyncio.run(closed_load(server.port, jpeg, CLIENTS, lambda answers, _: answers >= 2 * CLIENTS))
            load = asyncio.run(closed_load(server.port, jpeg, CLIENTS, lambda _, elapsed: elapsed > seconds))
            single.append(load.per_s)
            memory.append(resident_bytes(server.process.pid))
            load = asyncio.run(closed_load(server.port, batch, 2, lambda _, elapsed: elapsed > seconds))
            batched.append(BATCH * load.per_s)
            memory.append(resident_bytes(server.process.pid))
    full_batch_s = min(max(map(int, rates)) / rates[str(max(map(int, rates)))] for rates in alone)
    with live_server(folder, bundle) as server:
        asyncio.run(closed_load(server.port, jpeg, CLIENTS, lambda answers, _: answers >= CLIENTS))
        waiting = asyncio.run(open_load(server.port, jpeg, 0.7 * median(single), 2 * seconds))
    best = [max(rates.values()) for rates in alone]
    return {
        "alone_images_per_s": median(best),
        "alone_by_batch_size": alone,
        "jpeg_images_per_s": median(single),
        "jpeg_ratio": median([ours / theirs for ours, theirs in zip(single, best, strict=True)]),
        "npy_batch_images_per_s": median(batched),
        "npy_batch_ratio": median([ours / theirs for ours, theirs in zip(batched, best, strict=True)]),
        "full_batch_s": round(full_batch_s, 4),
        "p50_s_at_70_percent": round(waiting.percentile(0.5), 4),
        "p99_s_at_70_percent": round(waiting.percentile(0.99), 4),
        "p99_over_full_batch": round(waiting.percentile(0.99) / full_batch_s, 2),
        "answers_at_70_percent": dict(waiting.statuses),
        "resident_mb": round(max(memory) / 1e6),
    }


def _alone(bundle: Path, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-c", ALONE, str(bundle), str(seconds / 4)]
    rates: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return rates


def random_bundle(path: Path) -> Path:
    """A ResNet-50 at 224 pixels that nobody trained: as fast as one that somebody did."""
    from model.architecture import PixelClassifier
    from model.bundle import BundleMetadata, save_bundle

    save_bundle(path, PixelClassifier().eval(), BundleMetadata(abstain_below=0.0, input_size=224))
    return path


if __name__ == "__main__":
    main()
