"""What HTTP costs a ResNet-50: images a second against the runtime alone, waiting times, and memory; on a GPU if any.

    python benchmarks/throughput.py [--bundle DIR] [--seconds S] [--rounds N] [--clients N] [--batch-clients N]
        [--half-precision-photos DIR]

A round: 32 clients with 224 x 224 JPEGs, as fast as they get answers, then two clients with uint8 batches of 64 (more
of both for a GPU, or its batches are not full), then JPEGs at 70 % of the first rate, for the 99th percentile against
the time of one full batch. Between them the runtime alone, in another process with the same threads, at its best batch
size. Medians over the rounds count. Without a bundle: random weights. `--half-precision-photos`: both may compute in
half precision, as `serve` with that setting. Prints JSON and writes benchmarks/results/throughput.json, or
throughput_half.json.
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
from tests.live_server import LiveServer, live_server, npy

BATCH = 64
ALONE = """
import json, sys, time
from pathlib import Path
import numpy as np
from model.runtime import open_runtime
runtime = open_runtime(Path(sys.argv[1]), half_precision_photos=sys.argv[2])
print(json.dumps(runtime.batch_sizes), flush=True)
for line in sys.stdin:
    size, seconds = json.loads(line)
    pixels = np.random.default_rng(0).integers(0, 256, (size, *2 * [runtime.input_size], 3), np.uint8)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        runtime.run(pixels)
        count += 1
    print(count * size / (time.perf_counter() - started), flush=True)
"""


class Alone:
    """The runtime in a process of its own, with nothing around it."""

    def __init__(self, bundle: Path, half_precision_photos: str = "") -> None:
        command = [sys.executable, "-c", ALONE, str(bundle), half_precision_photos]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.batch_sizes: list[int] = json.loads(self._line())

    def images_per_s(self, size: int, seconds: float) -> float:
        """Its rate in batches of `size`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([size, seconds]) + "\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=6, help="seconds of each measurement")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batch-clients", type=int, default=2)
    parser.add_argument("--half-precision-photos", default="", metavar="DIR")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or random_bundle(Path(folder) / "bundle")
        result = _measure(bundle, Path(folder), options)
    config = {name: getattr(options, name) for name in ("rounds", "seconds", "clients", "batch_clients")}
    config |= {"batch": BATCH, "half_precision": bool(options.half_precision_photos)}
    name = "throughput_half" if options.half_precision_photos else "throughput"
    write_result(name, result, config, ["onnxruntime", "fastapi", "uvicorn", "pillow", "numpy"])


def _measure(bundle: Path, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    half = options.half_precision_photos
    alone = Alone(bundle, half)
    by_size = {size: round(alone.images_per_s(size, options.seconds), 2) for size in alone.batch_sizes}
    best = max(by_size, key=lambda size: by_size[size])
    jpeg = request_bytes("/predict", "image/jpeg", picture())
    with live_server(folder, bundle, **({"half_precision_photos": half} if half else {})) as server:
        asyncio.run(closed_load(server.port, jpeg, options.clients, lambda answers, _: answers >= 2 * options.clients))
        found = [_round(server, alone, best, jpeg, options) for _ in range(options.rounds)]
    alone.close()
    return {
        **{name: median([one[name] for one in found]) for name in found[0]},
        "alone_by_batch_size": by_size,
        "by_round": found,
    }


def _round(server: LiveServer, alone: Alone, best: int, jpeg: bytes, options: argparse.Namespace) -> dict[str, float]:
    """The runtime alone before and after each load of the service: other work on the machine comes and goes."""
    seconds = options.seconds
    squares = np.random.default_rng(1).integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
    batch = request_bytes("/predict/batch", "application/x-npy", npy(squares))
    largest = alone.batch_sizes[-1]
    before = alone.images_per_s(best, seconds / 2)
    single = asyncio.run(closed_load(server.port, jpeg, options.clients, lambda _, elapsed: elapsed > seconds))
    between = alone.images_per_s(best, seconds / 2)
    batched = asyncio.run(closed_load(server.port, batch, options.batch_clients, lambda _, elapsed: elapsed > seconds))
    memory = resident_bytes(server.process.pid)
    after = alone.images_per_s(best, seconds / 2)
    full_batch_s = largest / (after if best == largest else alone.images_per_s(largest, seconds / 2))
    waiting = asyncio.run(open_load(server.port, jpeg, 0.7 * single.per_s, 2 * seconds))
    assert set(waiting.statuses) == {200}, waiting.statuses
    result = {
        "alone_images_per_s": (before + between + after) / 3,
        "jpeg_images_per_s": single.per_s,
        "jpeg_ratio": 2 * single.per_s / (before + between),
        "npy_batch_images_per_s": BATCH * batched.per_s,
        "npy_batch_ratio": 2 * BATCH * batched.per_s / (between + after),
        "full_batch_s": full_batch_s,
        "p50_s_at_70_percent": waiting.percentile(0.5),
        "p99_s_at_70_percent": waiting.percentile(0.99),
        "p99_over_full_batch": waiting.percentile(0.99) / full_batch_s,
        "resident_mb": memory / 1e6,
    }
    rounded = {name: round(value, 4) for name, value in result.items()}
    print(rounded, file=sys.stderr)
    return rounded


def random_bundle(path: Path) -> Path:
    """A ResNet-50 at 224 pixels that nobody trained: as fast as one that somebody did."""
    from model.architecture import PixelClassifier
    from model.bundle import BundleMetadata, save_bundle

    save_bundle(path, PixelClassifier().eval(), BundleMetadata(abstain_below=0.0, input_size=224))
    return path


if __name__ == "__main__":
    main()
