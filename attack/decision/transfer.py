"""What a network of the attacker's own is worth: near starts, and normals that cost no query.

Pictures that turn one network often turn another that learned the same task (Papernot et al. 2016, arXiv:1605.07277).
Unlike there, a surrogate only proposes; the endpoint's answers decide, so that a poor one costs a few queries, no more.
D values of a picture.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from attack.decision.arc import ArcSearch
from attack.decision.cgba import unit
from attack.decision.problem import Gradient, Hits, Problem, Vector, norm, to_lattice
from model.pixels import Pixels


@dataclass(frozen=True)
class TransferParameters:
    """Set once, not tuned."""

    lengths: tuple[float, ...] = (4.0, 6.5, 10.0, 16.0, 26.0)
    """Of the pictures that are tried as a start; pixel units, root mean square."""
    steps: int = 6
    """Of the gradient's ascent to each of them."""
    tolerance: float = 6e-3
    """Of the search on the semicircle, relative to the distance."""


def transferred(problem: Problem, gradient: Gradient, parameters: TransferParameters) -> Pixels:
    """(N, D) the surrogate's ascent (PGD) from ball to larger ball about the original: what it found in each."""
    point = problem.original.copy()
    found = []
    for length in parameters.lengths:
        radius = np.float32(length * np.sqrt(problem.dim))
        for _ in range(parameters.steps):
            point = point + 2 * radius / parameters.steps * unit(gradient(point))
            point = problem.original + _within(point - problem.original, radius)
            np.clip(point, 0, 255, out=point)
        found.append(to_lattice(point.copy()))
    return np.stack(found)


class TransferStepper:
    """Steps of CGBA with a surrogate's gradient for the normal: no probes about the point."""

    def __init__(self, problem: Problem, gradient: Gradient, parameters: TransferParameters) -> None:
        self.gradient = gradient
        self.arc = ArcSearch(problem, parameters.tolerance)

    def step(self, point: Vector, distance: float, most: int) -> Generator[Pixels, Hits, Vector]:  # noqa: ARG002
        """(D,) a nearer point."""
        return (yield from self.arc.nearer(point, unit(self.gradient(point))))

    def moved(self) -> None:
        """The point is another: nothing to forget."""


def _within(offset: Vector, radius: np.float32) -> Vector:
    shortened: Vector = offset * min(np.float32(1), radius / np.float32(max(norm(offset), 1e-12)))
    return shortened
