"""HopSkipJump, L2 (Chen, Jordan and Wainwright 2020, arXiv:1904.02144), on the 8-bit lattice.

N probes, D values of a picture.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from attack.decision.cgba import signs, unit
from attack.decision.problem import Attack, Hits, Problem, Vector, norm, tape_window, tape_windows, to_lattice
from attack.decision.starts import bisect, find_start
from model.pixels import Pixels


@dataclass(frozen=True)
class HopSkipJumpParameters:
    """The paper's, but for the radius of the probes."""

    first_queries: int = 100
    """Probes for the first normal; the t-th takes sqrt(t) times as many."""
    max_queries: int = 10_000
    """Most probes for one normal."""
    radius: float = 0.05
    """Distance of the probes from the boundary point, relative to its distance from the original."""
    levels: float = 1.0
    """Least distance of the probes in levels per value: below one, rounding drowns the direction."""
    chunk: int = 16
    """Most probes that travel together."""
    tolerance: float = 1e-3
    """Of the bisection, relative to the distance."""


def hopskipjump(problem: Problem, parameters: HopSkipJumpParameters | None = None) -> Attack:
    """Estimate the normal at a boundary point, step along it, bisect back to the boundary, and again.

    Differs from the paper: the probes' radius follows the distance and never falls below the lattice; directions come
    from the noise tape; a step that finds nothing wrong keeps the point.
    """
    p = parameters or HopSkipJumpParameters()
    point = yield from find_start(problem)
    if point is None:
        return
    step = 0
    while (distance := norm(point - problem.original)) >= 1:
        step += 1
        n = min(int(p.first_queries * np.sqrt(step)), p.max_queries)
        reach = max(p.radius * distance, p.levels * np.sqrt(problem.dim))
        normal = yield from _normal(problem, point, reach, n, p.chunk)
        farther = yield from _step(point, normal, distance / np.sqrt(step))
        point = yield from bisect(problem, farther, p.tolerance)


def _normal(problem: Problem, point: Vector, reach: float, n: int, chunk: int) -> Generator[Pixels, Hits, Vector]:
    """(D,) unit normal: the answers' mean is taken off first (the paper's variance reduction)."""
    total, everything = np.zeros(problem.dim, np.float32), np.zeros(problem.dim, np.float32)
    wrong = 0
    scale = np.float32(reach / np.sqrt(problem.dim))
    for begin in range(0, n, chunk):
        windows = tape_windows(problem, min(chunk, n - begin))
        probes = np.stack([to_lattice(point + (scale * sign) * tape_window(problem, at)) for at, sign in windows])
        hits = yield probes
        for (at, sign), answer in zip(windows, signs(hits), strict=True):
            total += np.float32(answer * sign) * tape_window(problem, at)
            everything += np.float32(sign) * tape_window(problem, at)
        wrong += int(hits.sum())
    return unit(total - np.float32(2 * wrong / n - 1) * everything if 0 < wrong < n else total)


def _step(point: Vector, normal: Vector, length: float) -> Generator[Pixels, Hits, Vector]:
    """(D,) a wrongly answered point along the normal; the step is halved until there is one."""
    for _ in range(12):
        probe = to_lattice(point + np.float32(length) * normal)
        if (yield probe[None])[0]:
            return probe.astype(np.float32)
        length /= 2
    return point
