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
FIRST = (0.8, 1.0, 1.2)
"""The first angles, relative to the one that the normal predicts."""


def search_arc(problem: Problem, point: Vector, normal: Vector, tolerance: float) -> Generator[Pixels, Hits, Vector]:
    """(D,) a wrongly answered lattice point as near as the arc from `point` towards `normal` goes.

    Differs from the paper in that the first angles are about the one that the normal predicts, not 45 degrees, the
    bracket grows from there, and two or three angles travel together: a third of the bracket remains after each round
    trip, for a quarter more queries than halving it would take. `tolerance` is relative to the distance.
    """
    radius = point - problem.original
    length = norm(radius)
    radius /= np.float32(length)
    along = float(normal @ radius)
    across = normal - np.float32(along) * radius
    width = norm(across)
    if width < 1e-6:
        return (yield from bisect(problem, point, tolerance))
    across /= np.float32(width)
    wrong, right, best = 0.0, math.pi / 2, point
    predicted = min(max(math.atan2(width, along), 0.02), 1.25)  # so that all lie below a right angle
    angles = [predicted * share for share in FIRST]
    for _ in range(MAX_ROUNDS):
        probes = np.stack([to_lattice(problem.original + on_arc(radius, across, length, angle)) for angle in angles])
        hits = yield probes
        for angle, probe, hit in zip(angles, probes, hits.tolist(), strict=True):
            if not hit:
                right = angle
                break
            wrong, best = angle, probe.astype(np.float32)
        if math.cos(wrong) - math.cos(right) < tolerance * math.cos(wrong):
            break
        angles = _next_angles(angles, wrong, right)
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
        return [angles[0] * share for share in (0.4, 0.7)]
    return [wrong + (right - wrong) * share for share in (1 / 3, 2 / 3)]
