"""Peak memory of a training run on as many photos as the official training set has: 27,000 at 224 px.

    python benchmarks/memory.py [--photos 27000] [--size 224] [--steps 3] [--batch 8] [--threads 2]

The photos are drawn: a few pictures of noise over smooth shapes, linked under many names, so that the cache is decoded
and filled in full (5.4 GB at 258 px) without as many files. A process of its own then runs the `trades-bob train` of a
user: decoding, TRADES steps with K = 10 on a ResNet-50, validation, checkpoint, bundle. Its peak resident memory
counts. Prints JSON and writes it to benchmarks/results/memory.json.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import write_result

DISTINCT = 24
TARGET_GB = 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=27_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root / "data" / "train", options.photos)
        draw(root / "data" / "val", 32)
        (root / "run.toml").write_text(recipe(options))
        result = run(root)
        cached = sum(file.stat().st_size for file in (root / "cache").iterdir())
    write_result(
        "memory",
        {**result, "cache_gb": round(cached / 1e9, 2), "target_gb": TARGET_GB},
        {**vars(options), "perturb_steps": 10, "network": "resnet50"},
        ["torch", "numpy", "pillow"],
    )


def draw(folder: Path, photos: int) -> None:
    """`photos` names, half a class; hard links to a few pictures of 256 px."""
    rng = np.random.default_rng(0)
    for name in ("bicycle", "bird"):
        (folder / name).mkdir(parents=True)
        for number in range(photos // 2):
            file = folder / name / f"{number:05}.jpg"
            if number < DISTINCT:
                coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((256, 256))
                grain = rng.normal(0, 8, (256, 256, 3))
                Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(file, quality=90)
            else:
                os.link(folder / name / f"{number % DISTINCT:05}.jpg", file)


def recipe(options: argparse.Namespace) -> str:
    epochs = options.steps * options.batch / options.photos
    return f"""
epochs = {epochs}
batch_size = {options.batch}
input_size = {options.size}
threads = {options.threads}
[validation]
photos = 16
perturb_steps = 2
"""


def run(root: Path) -> dict[str, object]:
    """Start the run, wait for its end, and read what the kernel counted for it."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "trades_bob", "train", "run.toml", "--data", "data", "--out", "out"]
    environment = {**os.environ, "TRADES_BOB_CACHE": str(root / "cache")}
    process = subprocess.Popen(command, cwd=root, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run ended with {os.waitstatus_to_exitcode(status)}")
    return {"peak_resident_gb": round(usage.ru_maxrss * 1024 / 1e9, 3), "seconds": round(time.perf_counter() - started)}


if __name__ == "__main__":
    main()
