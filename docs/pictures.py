"""The pictures of the docs: training curves, risk against coverage, and what it takes to fool each of two networks.

    trades-bob evaluate --bundle DIR --images PHOTOS --out TABLE --profile short
    trades-bob data synthesize --out DRAWN --per-class 8 --size 224 --seed 5
    trades-bob attack --bundle DIR --images DRAWN --out ATTACK --max-queries 2000 --max-l2 100 --spatial none
    python docs/pictures.py --run RUN --tables TABLE UNDEFENDED_TABLE --attacks ATTACK UNDEFENDED_ATTACK --out docs

Evaluate and attack each network; the first of each pair is the defence, the second the undefended
network. Drawn pictures stand in for photos, which may not be published.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

NAMES = ("ours", "undefended")
ROWS = ("clean", "corruptions", "spatial", "pgd")
SHOWN = 6
VALIDATIONS = {
    "natural_at_100": "natural",
    "natural_at_80": "natural, 80 % coverage",
    "robust_at_100": "map and PGD",
    "robust_at_80": "map and PGD, 80 % coverage",
}


def training(run: Path, file: Path) -> None:
    """Loss by step, and accuracy on `val` at every validation."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    _line(losses, lines, "loss", "loss")
    losses.set(title="TRADES loss", xlabel="epoch")
    for key, name in VALIDATIONS.items():
        _line(accuracies, lines, key, name, marker="o", markersize=3)
    accuracies.set(title="accuracy on val", xlabel="epoch", ylim=(0, 1))
    accuracies.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def _line(axes: Axes, lines: list[dict[str, Any]], key: str, name: str, **style: Any) -> None:
    points = [(line["epoch"], line[key]) for line in lines if key in line]
    axes.plot(*zip(*points, strict=True), label=name, **style)
    axes.grid(alpha=0.3)


def risk_coverage(tables: list[Path], file: Path) -> None:
    """Share of wrong answers among the most confident, for the rows that both evaluations have."""
    reports = [json.loads((table / "report.json").read_text()) for table in tables]
    found = [{row["name"]: row for row in report["attacks"] if row["curve"]} for report in reports]
    names = [name for name in ROWS if all(name in rows for rows in found)]  # one order: one colour a row
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, network, rows in zip(figure.subplots(1, 2, sharey=True), NAMES, found, strict=True):
        for row in (rows[name] for name in names):
            axes.step(*zip(*row["curve"], strict=True), where="post", label=f"{row['title']}, n = {row['n']}")
        axes.axvline(0.8, color="grey", linestyle=":")
        axes.set(title=network, xlabel="coverage", ylabel="share of wrong among covered", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=110)


def nearest_adversarials(attacks: list[Path], file: Path) -> None:
    """Drawn pictures, the nearest picture that fools each network, and the amplified difference."""
    found = [_adversarials(attack) for attack in attacks]
    names = sorted(set(found[0]) & set(found[1]), key=lambda name: Path(name).stem)[:SHOWN]
    figure = Figure(figsize=(9, 1.9 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 5, squeeze=False)
    for line, name in zip(grid, names, strict=True):
        original = _pixels(attacks[0] / found[0][name]["original"])
        _show(line[0], original, Path(name).parent.name)
        for place, (attack, images, network) in enumerate(zip(attacks, found, NAMES, strict=True)):
            adversarial = _pixels(attack / images[name]["file"])
            difference = adversarial.astype(float) - original
            gain = 127 / max(1.0, float(np.abs(difference).max()))
            _show(line[1 + 2 * place], adversarial, f"{network}: L2 {images[name]['l2']:.2f}")
            amplified = (127.5 + gain * difference).round().astype(np.uint8)
            _show(line[2 + 2 * place], amplified, f"difference, x {gain:.1f}")
    figure.savefig(file, dpi=90)


def _adversarials(attack: Path) -> dict[str, dict[str, Any]]:
    images = json.loads((attack / "results.json").read_text())["images"]
    return {image["image"]: image for image in images if image["status"] == "adversarial"}


def _pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))


def _show(axes: Axes, pixels: np.ndarray, title: str) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.axis("off")


def main() -> None:
    """Draw those whose folders are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--tables", type=Path, nargs=2)
    parser.add_argument("--attacks", type=Path, nargs=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    mpl.use("Agg")
    if given.run:
        training(given.run, given.out / "training.png")
    if given.tables:
        risk_coverage(given.tables, given.out / "risk-coverage.png")
    if given.attacks:
        nearest_adversarials(given.attacks, given.out / "nearest-adversarials.png")


if __name__ == "__main__":
    main()
