"""How fast synthetic pictures are drawn: pictures per second of one core at 96 and 224 px, median of 5 rounds.

    python benchmarks/synthetic.py [--pictures N]

The first round warms up and is left out. Time is the process's own CPU time, so that other work on the machine does not
count; the pictures of a round are half bicycles, half birds, with seeds that no other round uses. Prints
JSON and writes it to benchmarks/results/synthetic.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import PIL

from benchmarks.harness import cpu_name
from train.synthetic import render
from train.synthetic.writer import picture_seed

ROUNDS, SIZES = 5, (96, 224)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=40, help="pictures a round")
    pictures = parser.parse_args().pictures
    report = {
        "benchmark": "synthetic",
        "pictures_per_core_second": {str(size): _rates(size, pictures) for size in SIZES},
        "config": {"pictures": pictures, "rounds": ROUNDS, "warm_up_rounds": 1},
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "pillow": PIL.__version__},
        "commit": _commit(),
    }
    text = json.dumps(report, indent=2)
    (Path(__file__).parent / "results").mkdir(exist_ok=True)
    (Path(__file__).parent / "results" / "synthetic.json").write_text(text + "\n")
    print(text)


def _rates(size: int, pictures: int) -> dict[str, float]:
    rates = [_rate(size, pictures, number) for number in range(ROUNDS + 1)][1:]
    return {"median": round(statistics.median(rates), 1), "least": round(min(rates), 1), "n": ROUNDS}


def _rate(size: int, pictures: int, number: int) -> float:
    started = time.process_time()
    for index in range(pictures):
        render(index % 2, picture_seed(number, index % 2, index), size)
    return pictures / (time.process_time() - started)


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
