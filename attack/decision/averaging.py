"""The normal in all frequencies, by averaging: for what is left once the few coefficients of a belief are known.

N probes, D values of a picture.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from attack.decision.arc import ArcSearch
from attack.decision.cgba import signs
from attack.decision.problem import Hits, Problem, Vector
from attack.decision.reach import Reach
from attack.decision.texture import Place, Texture, texture
from model.pixels import Pixels


@dataclass(frozen=True)
class AveragingParameters:
    """Of a step to a nearer point; chosen on validation photos."""

    probes: int = 160
    """About each of the first boundary points."""
    steady: int = 10
    """So many points; about the t-th sqrt(t / steady) times as many: late steps need better normals (as in CGBA)."""
    chunk: int = 40
    """Probes that travel together."""
    radius: float = 0.1
    """Distance of the probes from the boundary point, relative to the point's distance from the original."""
    tolerance: float = 6e-3
    """Of the search on the semicircle, relative to the distance."""


class AveragingStepper:
    """Steps of CGBA with probes of a texture. Nothing is remembered but the point, which holds what was learned."""

    def __init__(self, problem: Problem, parameters: AveragingParameters) -> None:
        self.problem, self.parameters = problem, parameters
        self.arc = ArcSearch(problem, parameters.tolerance)
        self.reach = Reach(parameters.radius)
        self.steps = 0

    def step(self, point: Vector, distance: float, most: int) -> Generator[Pixels, Hits, Vector]:
        """(D,) a nearer point; about this one at most `most` probes are spent, and one at least."""
        p = self.parameters
        field = texture(self.problem.side)  # seldom needed: made with the first step
        places: list[Place] = []
        weights: list[Vector] = []
        n = max(1, min(most, self._due()))
        for begin in range(0, n, p.chunk):
            chunk = field.places(self.problem.rng, min(p.chunk, n - begin))
            places += chunk
            hits = yield _probes(field, point, self.reach.pixels(distance, self.problem.dim), chunk)
            self.reach.learn(hits)
            weights.append(_weights(hits))
        normal = field.normal(field.sum(places, np.concatenate(weights)))
        return (yield from self.arc.nearer(point, normal))

    def _due(self) -> int:
        """Probes about the next point."""
        self.steps += 1
        return int(self.parameters.probes * max(1.0, math.sqrt(self.steps / self.parameters.steady)))

    def moved(self) -> None:
        """The point is another: nothing to forget."""


def _probes(field: Texture, point: Vector, reach: float, places: list[Place]) -> Pixels:
    """(N, D) lattice points at `reach` from a (D,) point; one at a time, which stays in the processor's cache."""
    probes = np.empty((len(places), len(point)), np.uint8)
    shifted = point + np.float32(0.5)  # cutting off then rounds
    for probe, place in zip(probes, places, strict=True):
        moved = field.direction(place, reach)
        moved += shifted
        probe[:] = np.clip(moved, 0, 255, out=moved)
    return probes


def _weights(hits: Hits) -> Vector:
    """(N,) of one chunk's directions: the answers' mean is taken off, as in HopSkipJump; equal ones say nothing."""
    weights = signs(hits)
    weights -= weights.mean()
    return weights
