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

MAX_QUERIES = 12


def search_arc(problem: Problem, point: Vector, normal: Vector, tolerance: float) -> Generator[Pixels, Hits, Vector]:
    """(D,) a wrongly answered lattice point as near as the arc from `point` towards `normal` goes.

    Differs from the paper in that the first angle is the one that the normal predicts, not 45 degrees; the
    bracket grows from there. `tolerance` is relative to the distance.
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
    angle = min(max(math.atan2(width, along), 0.02), 1.5)
    for query in range(MAX_QUERIES):
        probe = to_lattice(problem.original + on_arc(radius, across, length, angle))
        if (yield probe[None])[0]:
            wrong, best = angle, probe.astype(np.float32)
        else:
            right = angle
        if math.cos(wrong) - math.cos(right) < tolerance * math.cos(wrong):
            break
        angle = _next_angle(angle, wrong, right, query)
    return best


def on_arc(radius: Vector, across: Vector, length: float, angle: float) -> Vector:
    """(D,) from the original to the point of the semicircle at `angle` from the unit `radius` towards `across`."""
    turned: Vector = np.float32(math.cos(angle)) * radius + np.float32(math.sin(angle)) * across
    turned *= np.float32(length * math.cos(angle))
    return turned


def _next_angle(angle: float, wrong: float, right: float, query: int) -> float:
    """Outwards from the prediction until it is bracketed, then bisection."""
    if right == math.pi / 2:
        return min(angle * 1.15 + 0.02, (angle + right) / 2)
    if wrong == 0:
        return angle * (0.75 if query < 3 else 0.5)
    return (wrong + right) / 2
