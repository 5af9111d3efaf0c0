"""Along the semicircle over the line from the original to the boundary point (CGBA: Reza et al. 2023).

Every hyperplane through the point with a normal in the plane of the semicircle crosses it where the hyperplane comes
nearest to the original (Thales): a search by angle finds that place without knowing the distance. D values.
"""

import math
from collections.abc import Generator

import numpy as np

from attack.decision.problem import Hits, Problem, Vector, norm, to_lattice
from attack.decision.starts import bisect
from model.pixels import Pixels

MAX_ROUNDS = 6
FIRST = (0.6, 1.2)
"""The first angles, relative to the one that is expected."""
FIRST_SHARE = 0.4
"""Of the angle that a normal predicts, how much a network's boundary usually bears (medians: 0.24 and 0.54)."""
SHARES = (0.15, 1.0)
"""Bounds of that share as it is learned."""


class ArcSearch:
    """Searches on the semicircles of one photo; each tells the next how much of a predicted angle to expect."""

    def __init__(self, problem: Problem, tolerance: float) -> None:
        """`tolerance` is relative to the distance."""
        self.problem, self.tolerance, self.share = problem, tolerance, FIRST_SHARE

    def nearer(self, point: Vector, normal: Vector) -> Generator[Pixels, Hits, Vector]:
        """(D,) a point as near as the arc from `point` towards `normal` goes whose rounded picture is answered wrongly.

        It is not rounded itself: the steps would add up what rounding adds to the distance.

        Differs from the paper in that the first angles are about the one that the normal predicts, less what it
        promised too much before, not 45 degrees, the bracket grows from there, and two angles travel together: a third
        of the bracket remains after each round trip, for a quarter more queries than halving it would take.
        """
        radius = point - self.problem.original
        length = norm(radius)
        radius /= np.float32(length)
        along = float(normal @ radius)
        across = normal - np.float32(along) * radius
        width = norm(across)
        if width < 1e-6:
            return (yield from bisect(self.problem, point, self.tolerance))
        across /= np.float32(width)
        predicted = min(max(math.atan2(width, along), 0.02), 1.25)  # so that all lie below a right angle
        wrong, right, best = 0.0, math.pi / 2, point
        angles = [predicted * self.share * part for part in FIRST]
        for _ in range(MAX_ROUNDS):
            ends = [np.clip(self.problem.original + on_arc(radius, across, length, angle), 0, 255) for angle in angles]
            hits = yield np.stack([to_lattice(end.copy()) for end in ends])
            for angle, end, hit in zip(angles, ends, hits.tolist(), strict=True):
                if not hit:
                    right = angle
                    break
                wrong, best = angle, end
            if math.cos(wrong) - math.cos(right) < self.tolerance * math.cos(wrong):
                break
            angles = _next_angles(angles, wrong, right)
        self.share = min(max(math.sqrt(self.share * wrong / predicted), SHARES[0]), SHARES[1])
        return best


def on_arc(radius: Vector, across: Vector, length: float, angle: float) -> Vector:
    """(D,) from the original to the point of the semicircle at `angle` from the unit `radius` towards `across`."""
    turned: Vector = np.float32(math.cos(angle)) * radius + np.float32(math.sin(angle)) * across
    turned *= np.float32(length * math.cos(angle))
    return turned


def _next_angles(angles: list[float], wrong: float, right: float) -> list[float]:
    """Outwards or inwards from the last ones until the end is bracketed, then the thirds of the bracket."""
    if right == math.pi / 2:
        farther = (min(angles[-1] * share + 0.02, (angles[-1] + right) / 2) for share in (1.2, 1.4))
        return list(dict.fromkeys(farther))
    if wrong == 0:
        return [angles[0] * share for share in (1 / 3, 2 / 3)]
    return [wrong + (right - wrong) * share for share in (1 / 3, 2 / 3)]
