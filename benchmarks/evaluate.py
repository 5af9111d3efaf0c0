"""What each row of the evaluation costs: pictures a second, beside the bare network on the same full batches.

    python benchmarks/evaluate.py --images DIR [--bundle DIR] [--size PX] [--rows A,B] [--photos N]
    python benchmarks/evaluate.py --report OUT/report.json

Without --bundle, a ResNet-50 with random weights: its speed is that of any other. Each row runs once to warm up and is
then measured; the bare network is measured before and after it and their mean is the peer. A ratio of 0.9 says that a
tenth of the time goes into everything but the network. Peak memory is the whole process's. Prints JSON and writes it to
benchmarks/results/evaluate_<size>px.json. With --report nothing runs: the times are those of a finished `trades-bob
evaluate` at this commit on this machine, written to benchmarks/results/evaluate_report_<size>px.json.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from attack.evaluation.page import read_report
from attack.evaluation.protocol import ROWS, Planned, runs_on
from attack.evaluation.run import all_photos, chosen_device, measured_speed
from attack.evaluation.session import Session
from attack.evaluation.subject import BundleSubject
from model.architecture import PixelClassifier
from model.bundle import BundleMetadata, save_bundle
from model.photos import Photo

FORWARD_AND_BACKWARD = 3
"""In passes of the bare network."""
PHOTOS = {"clean": 64, "corruptions": 8, "spatial": 2, "pgd": 4, "square": 2, "spsa": 1, "label-only": 4}
"""How many photos a row is measured on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path)
    source.add_argument("--report", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rows", default="clean,corruptions,spatial,pgd,square")
    parser.add_argument("--photos", type=float, default=1.0, help="factor on the number of photos")
    options = parser.parse_args()
    name, found = finished(read_report(options.report)) if options.report else ran(options)
    text = json.dumps({"benchmark": "evaluate", **found, **surroundings(), "commit": commit()}, indent=2)
    print(text)
    (Path(__file__).parent / "results" / f"{name}.json").write_text(text + "\n")


def ran(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Run the rows -> the result's name, and what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or random_bundle(Path(folder), options.size)
        subject = BundleSubject(bundle, chosen_device("auto"), options.size)
    session, photos = Session(subject, seed=0), all_photos(options.images, seed=0)
    rows = {name: measured(session, photos, name, options.photos) for name in options.rows.split(",")}
    return f"evaluate_{options.size}px", {
        "rows": rows,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "config": {"size": options.size, "batch": subject.batch, "network": "resnet50", "device": str(subject.device)},
    }


def finished(report: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A report of `trades-bob evaluate` -> the result's name, and the time of each row; `worst` runs nothing."""
    rows = {
        row["name"]: {"photos": row["n"], "seconds": row["seconds"], "queries": row["queries"]}
        for row in report["attacks"]
        if row["name"] != "worst"
    }
    size = report["model"]["input_size"]
    return f"evaluate_report_{size}px", {
        "rows": rows,
        "seconds": report["seconds"],
        "config": {"size": size, "sha256": report["model"]["sha256"], "profile": report["settings"]["profile"]},
        "run_on": report["environment"],
    }


def surroundings() -> dict[str, Any]:
    """This machine, and the versions."""
    return {
        "machine": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def random_bundle(folder: Path, size: int) -> Path:
    torch.manual_seed(0)
    save_bundle(folder, PixelClassifier(), BundleMetadata(input_size=size, abstain_below=0.0))
    return folder


def measured(session: Session, photos: list[Photo], name: str, factor: float) -> dict[str, Any]:
    row = ROWS[name]
    chosen = photos[: max(1, round(PHOTOS.get(name, 2) * factor))]
    planned = Planned(name, row, chosen)
    assert runs_on(row, session) is None
    row.run(session, chosen[:1], lambda *_, **__: None, photos)
    before = measured_speed(session, chosen).rate
    started = time.perf_counter()
    row.run(session, planned.photos, lambda *_, **__: None, photos)
    seconds = time.perf_counter() - started
    pictures = session.subject.queries * (FORWARD_AND_BACKWARD if row.needs == "gradients" else 1)
    bare = (before + measured_speed(session, chosen).rate) / 2
    return {
        "photos": len(chosen),
        "seconds": round(seconds, 3),
        "passes": pictures,
        "passes_per_s": round(pictures / seconds, 2),
        "bare_network_per_s": round(bare, 2),
        "ratio": round(pictures / seconds / bare, 3),
        "most_passes_per_photo": row.passes,
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
