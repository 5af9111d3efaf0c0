"""The best mix: two beliefs about the normal, one in the low and one in the middle frequencies, take turns by success.

A robust network's normal lies in the low frequencies, an undefended one's also in the middle ones; which, is found by
trying. Steps are those of `regression`; the queries are counted, so that a budget ends with a finished search.
N probes, D values of a picture, d coefficients.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from attack.decision.arc import search_arc
from attack.decision.cgba import lattice_reach
from attack.decision.posterior import NormalPosterior
from attack.decision.problem import Attack, Hits, Problem, Vector, norm, probes_about
from attack.decision.starts import best_start, near_copies
from attack.decision.subspace import Coordinates, coordinates
from model.pixels import Pixels

Result = TypeVar("Result")


@dataclass(frozen=True)
class Band:
    """Where a belief looks for the normal; see `subspace.Coordinates`."""

    centre: float
    half: float
    decay: float


@dataclass(frozen=True)
class AutoParameters:
    """Chosen on validation photos, against an undefended and a robust network."""

    bands: tuple[Band, ...] = (Band(0, 8, 1), Band(20, 8, 2))
    """Of the beliefs that take turns."""
    dim: int = 432
    """Coefficients of each belief."""
    chunk: int = 30
    """Probes between two updates of a belief; they travel together."""
    chunks: int = 2
    """Chunks about each boundary point."""
    search: int = 10
    """Queries kept for the last search on the semicircle."""
    radius: float = 0.1
    """Distance of the probes from the boundary point, relative to the point's distance from the original."""
    offset: float = 0.05
    """How far off the boundary the point may be, relative to the probes' distance."""
    forget: float = 0.02
    """Share of a belief that is lost when the point moves."""
    tolerance: float = 2e-3
    """Of the search on the semicircle, relative to the distance."""
    trust: float = 0.15
    """Length of the first guess of the normal: the way from the original to the start."""


def auto(problem: Problem, parameters: AutoParameters | None = None) -> Attack:
    """Start as near as may be; then the belief that last gained most per query says where to go next."""
    p = parameters or AutoParameters()
    meter = _Meter(problem.budget - 2)  # the clean photo and its map
    point = yield from meter.counted(best_start(problem, copies=near_copies(problem)))
    if point is None:
        return
    arms = [_Arm(problem, point, band, p) for band in p.bands]
    while (distance := norm(point - problem.original)) >= 1:
        arm = max(arms, key=lambda arm: arm.gain)
        before = meter.left
        point = yield from meter.counted(arm.step(point, distance, meter.left - p.search))
        arm.gain = math.log(distance / max(norm(point - problem.original), 1)) / (before - meter.left)
        for each in arms:
            each.belief.move(p.forget)


class _Arm:
    """A belief, and what it was good for when last asked."""

    def __init__(self, problem: Problem, point: Vector, band: Band, parameters: AutoParameters) -> None:
        self.problem, self.parameters = problem, parameters
        self.space: Coordinates = coordinates(problem.side, parameters.dim, band.half, band.decay, band.centre)
        self.belief = NormalPosterior(self.space.prior, parameters.offset)
        self.belief.guess(self.space.reduce((point - problem.original)[None])[0], parameters.trust)
        self.gain = math.inf
        """Logarithm of the distance, per query: unknown counts as best."""

    def step(self, point: Vector, distance: float, probes: int) -> Generator[Pixels, Hits, Vector]:
        """(D,) a nearer point; about this one at most so many probes are spent."""
        p = self.parameters
        reach = max(p.radius * distance, lattice_reach(self.problem.dim))
        for _ in range(p.chunks):
            directions = self.belief.draw(self.problem.rng, max(1, min(p.chunk, probes)))
            hits = yield probes_about(point, reach, directions, self.space.expand)
            self.belief.update(directions, hits)
            probes -= p.chunk
            if probes <= 0:
                break
        normal = self.space.expand(self.belief.normal()[None])[0]
        return (yield from search_arc(self.problem, point, normal, p.tolerance))


class _Meter:
    """How many queries are left, at least: a probe that was asked before costs nothing, but is counted here."""

    def __init__(self, left: int) -> None:
        self.left = left

    def counted(self, search: Generator[Pixels, Hits, Result]) -> Generator[Pixels, Hits, Result]:
        """The same search, its probes counted."""
        try:
            probes = next(search)
            while True:
                self.left -= len(probes)
                probes = search.send((yield probes))
        except StopIteration as end:
            result: Result = end.value
            return result
