"""SurFree (Maho, Furon and Le Merrer 2021, arXiv:2011.12807): no normal, only random low-frequency directions.

D values of a picture, d coefficients.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from attack.decision.arc import on_arc
from attack.decision.cgba import unit
from attack.decision.problem import Attack, Hits, Problem, Vector, norm, to_lattice
from attack.decision.starts import find_start
from attack.decision.subspace import low_frequency
from model.pixels import Pixels


@dataclass(frozen=True)
class SurfreeParameters:
    """The authors' choices."""

    frequencies: int = 32
    """Frequencies a side that directions are drawn from."""
    memory: int = 100
    """A direction is made orthogonal to so many before it."""
    first_angle_degrees: float = 30.0
    """Largest angle tried; it grows after success and shrinks after failure."""
    angles: int = 2
    """Angles tried on either side, from the largest down."""
    bisections: int = 5
    """Halvings of the angle once one is answered wrongly."""


def surfree(problem: Problem, parameters: SurfreeParameters | None = None) -> Attack:
    """Turn the way to the boundary point into random directions on the semicircle; keep what is still wrong.

    Differs from the paper: coefficients are drawn flat over the low frequencies, not weighted by the picture's own.
    """
    p = parameters or SurfreeParameters()
    point = yield from find_start(problem)
    if point is None:
        return
    walk = _Walk(problem, point, p)
    # With no progress left on the lattice the angle shrinks until nothing moves.
    while norm(walk.point - problem.original) >= 1 and walk.largest > 1e-3:
        yield from walk.step()


class _Walk:
    def __init__(self, problem: Problem, point: Vector, parameters: SurfreeParameters) -> None:
        self.problem, self.point, self.parameters = problem, point, parameters
        self.space = low_frequency(problem.side, parameters.frequencies)
        self.memory: list[Vector] = []
        self.largest = math.radians(parameters.first_angle_degrees)

    def step(self) -> Attack:
        radius = self.point - self.problem.original
        length = norm(radius)
        radius /= np.float32(length)
        across = self._direction(radius)
        for share in range(self.parameters.angles, 0, -1):
            for sign in (1, -1):
                angle = sign * self.largest * share / self.parameters.angles
                probe = self._at(radius, across, length, angle)
                if (yield probe[None])[0]:
                    self.point = yield from self._farthest(radius, across, length, angle, probe)
                    self.largest = min(self.largest * 1.1, math.radians(60))
                    return
        self.largest *= 0.95

    def _farthest(
        self, radius: Vector, across: Vector, length: float, angle: float, probe: Pixels
    ) -> Generator[Pixels, Hits, Vector]:
        best, wrong, right = probe, angle, 2 * angle
        for _ in range(self.parameters.bisections):
            middle = (wrong + right) / 2
            probe = self._at(radius, across, length, middle)
            if (yield probe[None])[0]:
                best, wrong = probe, middle
            else:
                right = middle
        return best.astype(np.float32)

    def _at(self, radius: Vector, across: Vector, length: float, angle: float) -> Pixels:
        return to_lattice(self.problem.original + on_arc(radius, across, length, angle))

    def _direction(self, radius: Vector) -> Vector:
        """(D,) unit, low frequencies only but for the part that makes it orthogonal to the radius."""
        drawn = self.problem.rng.standard_normal(self.space.dim, dtype=np.float32)
        for earlier in self.memory:
            drawn -= (drawn @ earlier) * earlier
        drawn = unit(drawn)
        self.memory = [*self.memory, drawn][-min(self.parameters.memory, self.space.dim // 2) :]
        across = self.space.expand(drawn[None])[0]
        return unit(across - (across @ radius) * radius)
