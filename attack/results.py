"""What an attack leaves: `results.json`, a PNG for every adversarial, and the figures over all photos."""

import io
from collections import Counter
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from attack.track import Outcome
from model.files import TEMPORARY, fitting, replace_file
from model.pixels import Pixels

LATTICE: Final = "uint8"
ROUNDING: Final = 1e-4
"""Distances are measured in float32 on the way and in float64 at the end: so much they may differ."""


def png_bytes(pixels: Pixels) -> bytes:
    """(H, W, 3) uint8 as a PNG file, in a third of the time and a fifteenth more bytes than by default."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def measured(original: Pixels, adversarial: Pixels) -> tuple[float, float]:
    """L2 and L-inf between two uint8 pictures, each taken as [0, 1]."""
    difference = (adversarial.astype(np.float64) - original.astype(np.float64)).ravel() / 255
    return float(np.sqrt(difference @ difference)), float(np.abs(difference).max(initial=0))


@dataclass(frozen=True)
class Store:
    """The output folder: `adversarial/`, `original/` and `results.json`."""

    out: Path

    def clear(self) -> None:
        """Delete what a run left half written that was killed."""
        for pattern in (".results.json", ".index.html", "adversarial/*/.*.png", "original/*/.*.png"):
            for file in self.out.glob(pattern + TEMPORARY):
                file.unlink(missing_ok=True)

    def save_pictures(self, outcome: Outcome) -> dict[str, str]:
        """Write the pair of PNGs of an adversarial; paths relative to the folder."""
        assert outcome.adversarial is not None
        assert outcome.original is not None
        label, photo = outcome.name.split("/")
        name = Path(label) / fitting(photo, ".png")  # behind the whole name: `0.jpg` may lie beside `0.png`
        files = {"file": Path("adversarial") / name, "original": Path("original") / name}
        for key, pixels in (("file", outcome.adversarial), ("original", outcome.original)):
            (self.out / files[key]).parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.out / files[key], png_bytes(pixels))
        return {key: file.as_posix() for key, file in files.items()}


def record(outcome: Outcome, files: dict[str, str]) -> dict[str, Any]:
    """An entry of `images`. l2 and linf are null unless adversarial.

    `best_l2` is the nearest at any distance, and where `curve` ends; what was taken back is in neither.
    """
    adversarial = outcome.status == "adversarial"
    best_l2 = None if outcome.status == "failed" else outcome.l2
    nearest = inf if best_l2 is None else best_l2 * (1 - ROUNDING)
    return {
        "image": outcome.name,
        "label": outcome.label,
        "status": outcome.status,
        "l2": outcome.l2 if adversarial else None,
        "linf": outcome.linf if adversarial else None,
        "queries": outcome.queries,
        "repeats": outcome.repeats,
        "repeats_differing": outcome.differing,
        "file": files.get("file"),
        "original": files.get("original"),
        "best_l2": best_l2,
        "reason": outcome.reason,
        "spatial": outcome.spatial,
        "curve": [[queries, round(l2, 5)] for queries, l2 in outcome.curve if l2 >= nearest],
    }


def summary(images: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by status, the median of `best_l2` over the photos that have one, and queries in all.

    An endpoint was asked `queries` + `repeats` pictures.
    """
    counts = Counter(image["status"] for image in images)
    found = [image["best_l2"] for image in images if image["best_l2"] is not None]
    return {
        "photos": len(images),
        **{status: counts[status] for status in ("adversarial", "robust", "misclassified", "abstained", "failed")},
        "median_best_l2": round(float(np.median(found)), 5) if found else None,
        **{key: sum(image[key] for image in images) for key in ("queries", "repeats", "repeats_differing")},
    }
