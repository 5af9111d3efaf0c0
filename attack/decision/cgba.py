"""CGBA: curvature-aware geometric black-box attack (Reza et al. 2023, arXiv:2308.03163).

N probes, D values of a picture, d coefficients.
"""

from dataclasses import dataclass

import numpy as np

from attack.decision.arc import ArcSearch
from attack.decision.problem import Attack, Hits, Problem, Vector, norm, probes_about
from attack.decision.reach import lattice_reach
from attack.decision.starts import find_start
from attack.decision.subspace import low_frequency


@dataclass(frozen=True)
class CgbaParameters:
    """The authors' choices, but for the radius, which the lattice asks to be larger."""

    frequencies: int = 14
    """Frequencies a side that probes are drawn from."""
    first_queries: int = 30
    """Probes for the first normal; the t-th takes sqrt(t) times as many."""
    radius: float = 0.05
    """Distance of the probes from the boundary point, relative to its distance from the original."""
    chunk: int = 32
    """Most probes that travel together."""
    tolerance: float = 1e-3
    """Of the search on the semicircle, relative to the distance."""


def cgba(problem: Problem, parameters: CgbaParameters | None = None) -> Attack:
    """Average the answers about a boundary point into a normal, follow the semicircle, and again.

    Differs from the paper in the lattice (the probes' radius is at least half a level per value), in the first angle
    of the search on the semicircle, and in a start from a photo of the other class.
    """
    p = parameters or CgbaParameters()
    point = yield from find_start(problem)
    if point is None:
        return
    space = low_frequency(problem.side, p.frequencies)
    arc, step = ArcSearch(problem, p.tolerance), 0
    while (distance := norm(point - problem.original)) >= 1:
        step += 1
        reach = max(p.radius * distance, lattice_reach(problem.dim))
        total = np.zeros(space.dim, np.float32)
        directions_sum, wrong = np.zeros(space.dim, np.float32), 0
        n = int(p.first_queries * np.sqrt(step))
        for begin in range(0, n, p.chunk):
            directions = problem.rng.standard_normal((min(p.chunk, n - begin), space.dim), dtype=np.float32)
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            hits = yield probes_about(point, reach, directions, space.expand)
            total += signs(hits) @ directions
            directions_sum += directions.sum(axis=0)
            wrong += int(hits.sum())
        normal = total - np.float32(2 * wrong / n - 1) * directions_sum if 0 < wrong < n else total
        point = yield from arc.nearer(point, unit(space.expand(normal[None])[0]))


def signs(hits: Hits) -> Vector:
    """(N,) +1 for a wrong answer, else -1."""
    return np.where(hits, np.float32(1), np.float32(-1))


def unit(vector: Vector) -> Vector:
    """The (D,) vector at length 1."""
    return vector / np.float32(max(norm(vector), 1e-12))
