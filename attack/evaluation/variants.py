"""The rows that look for the worst of a fixed list of variants: clean, corruptions, the spatial grid.

P photos of a chunk, K variants, S side.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from attack.evaluation.session import Chunk, Result, Session, worst_variants
from attack.gradient.objective import objective, split
from attack.transforms.corruptions import CORRUPTIONS, KIT_CORRUPTIONS, corrupt
from attack.transforms.corruptions.parameters import SEVERITIES
from attack.transforms.grid import KIT, Grid, bordered, moved
from attack.transforms.pixels import brought_to, to_tensor
from attack.transforms.spatial import KIT_SIZE
from model.console import Report
from model.photos import Photo
from model.pixels import load_square


class Corrupted(NamedTuple):
    """One corruption at one severity."""

    name: str
    severity: int

    def __str__(self) -> str:
        return f"{self.name.replace('_', ' ')} {self.severity}"


KIT_SEVERITY = 1
KIT_VARIANTS = tuple(Corrupted(name, KIT_SEVERITY) for name in KIT_CORRUPTIONS)
ALL_VARIANTS = tuple(Corrupted(name, severity) for name in CORRUPTIONS for severity in SEVERITIES)


class Moved(NamedTuple):
    """One map of the grid: degrees, and pixels of a 224 x 224 picture."""

    angle: float
    dx: float
    dy: float

    def __str__(self) -> str:
        return f"{self.angle:+.0f} degrees, {self.dx:+.0f}, {self.dy:+.0f} px"


class Clean:
    """The photos as they are."""

    variants = ("as it is",)

    def __init__(self, session: Session) -> None:
        self.session = session

    def prepare(self, chunk: Chunk) -> Tensor:
        """The photos themselves."""
        return self.session.tensor(chunk)

    def render(self, base: Tensor, photos: Sequence[Photo], variant: str) -> Tensor:  # noqa: ARG002
        """Nothing is done."""
        return base

    def rank(self, logits: Tensor, y: Tensor) -> Tensor:
        """There is nothing to choose."""
        return objective(logits, y)

    def note(self, logits: Tensor, y: Tensor) -> None:
        """There is nothing to note."""


class Corruptions:
    """Every photo under every corruption; as in the kit the largest wrong logit is the worst.

    Corruptions are defined for 224 x 224: the photo is corrupted at that size, then brought to the subject's size.
    """

    def __init__(self, session: Session, variants: Sequence[Corrupted] = KIT_VARIANTS) -> None:
        self.session, self.variants = session, variants
        self.errors, self.n = np.zeros(len(variants), dtype=int), 0

    def prepare(self, chunk: Chunk) -> Tensor:
        """(P, 3, 224, 224)"""
        pixels = np.stack([load_square(photo.path, KIT_SIZE) for photo in chunk.photos])
        return to_tensor(pixels, self.session.subject.device)

    def render(self, base: Tensor, photos: Sequence[Photo], variant: Corrupted) -> Tensor:
        """Each photo with a seed of its own for this corruption and severity."""
        seeds = [self.session.seed_of(photo, f"corruption {variant}") for photo in photos]
        return brought_to(corrupt(base, variant.name, variant.severity, seeds), self.session.size)

    def rank(self, logits: Tensor, y: Tensor) -> Tensor:
        """By the wrong logit; behind an endpoint by the margin of the votes."""
        return split(logits, y)[1] if self.session.subject.sees_logits else objective(logits, y)

    def note(self, logits: Tensor, y: Tensor) -> None:
        """Count the mistakes of each corruption."""
        for number, answers in enumerate(logits.transpose(0, 1)):
            self.errors[number] += int(self.session.wrong(answers, y).sum())
        self.n += len(y)

    @property
    def matrix(self) -> list[dict[str, Any]]:
        """Mistakes by corruption and severity."""
        return [
            {"corruption": one.name, "severity": one.severity, "errors": int(errors), "n": self.n}
            for one, errors in zip(self.variants, self.errors, strict=True)
        ]


class Spatial:
    """Every photo under every map of the grid; as in the kit the largest `wrong - right` is the worst."""

    def __init__(self, session: Session, grid: Grid) -> None:
        self.session, self.grid = session, grid
        self.variants = [Moved(*one) for one in grid.maps]
        self.wrong = torch.zeros(len(self.variants), dtype=torch.int64)
        self.margins = torch.zeros(len(self.variants), dtype=torch.float64)
        self.n = 0

    def prepare(self, chunk: Chunk) -> Tensor:
        """The photos, smaller, in a black border."""
        return to_tensor(np.stack([bordered(pixels) for pixels in chunk.pixels]), self.session.subject.device)

    def render(self, base: Tensor, photos: Sequence[Photo], variant: Moved) -> Tensor:  # noqa: ARG002
        """All photos under one map."""
        return moved(base, [variant] * len(base))

    def rank(self, logits: Tensor, y: Tensor) -> Tensor:
        """By the margin; one that is not finite counts as wrong, so it is the largest."""
        return objective(logits, y).where(logits.isfinite().all(dim=1), torch.inf)

    def note(self, logits: Tensor, y: Tensor) -> None:
        """Count the mistakes and add up the margins of each map."""
        margins = self.rank(logits.reshape(-1, 2), y.repeat_interleave(len(self.variants))).view(len(y), -1)
        self.wrong += (margins > 0).sum(0)
        self.margins += margins.double().sum(0)
        self.n += len(y)

    @property
    def heat(self) -> dict[str, Any]:
        """Mistakes and mean margins, map by map, in the grid's order."""
        return {
            "angles_degrees": self.grid.angles_degrees,
            "dxs_px": self.grid.dxs_px,
            "dys_px": self.grid.dys_px,
            "wrong": self.wrong.tolist(),
            "mean_margin": [round(value, 6) if isfinite(value) else None for value in (self.margins / self.n).tolist()],
            "n": self.n,
        }


def clean(session: Session, photos: Sequence[Photo], report: Report) -> Result:
    """The photos as they are."""
    return worst_variants(session, photos, Clean(session), report)


def corruptions(
    session: Session, photos: Sequence[Photo], report: Report, variants: Sequence[Corrupted] = KIT_VARIANTS
) -> Result:
    """The worst of the corruptions."""
    row = Corruptions(session, variants)
    result = worst_variants(session, photos, row, report)
    result.detail["matrix"] = row.matrix
    return result


def spatial(session: Session, photos: Sequence[Photo], report: Report, grid: Grid = KIT) -> Result:
    """The worst map of the grid."""
    row = Spatial(session, grid)
    result = worst_variants(session, photos, row, report)
    result.detail["grid"] = row.heat
    return result
