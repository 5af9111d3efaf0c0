"""Normal by regression: the semicircle steps of CGBA, with a normal learned from every answer so far.

N probes, D values of a picture, d coefficients.
"""

from collections.abc import Generator
from dataclasses import dataclass

from attack.decision.arc import ArcSearch
from attack.decision.posterior import NormalPosterior
from attack.decision.problem import Attack, Hits, Problem, Vector, norm, probes_about
from attack.decision.reach import lattice_reach
from attack.decision.starts import best_start
from attack.decision.subspace import coordinates
from model.pixels import Pixels


@dataclass(frozen=True)
class Band:
    """Where a belief looks for the normal; see `subspace.Coordinates`."""

    centre: float
    half: float
    decay: float


LOW = Band(0, 8, 1)


@dataclass(frozen=True)
class StepParameters:
    """Of a step to a nearer point; chosen on validation photos, against an undefended and a robust network."""

    dim: int = 432
    """Coefficients of the belief."""
    chunk: int = 40
    """Probes about each boundary point; they travel together."""
    radius: float = 0.1
    """Distance of the probes from the boundary point, relative to the point's distance from the original."""
    offset: float = 0.05
    """How far off the boundary the point may be, relative to the probes' distance."""
    forget: float = 0.02
    """Share of the belief that is lost when the point moves."""
    tolerance: float = 6e-3
    """Of the search on the semicircle, relative to the distance."""
    trust: float = 0.15
    """Length of the first guess of the normal: the way from the original to the start."""


def regression(problem: Problem, parameters: StepParameters | None = None) -> Attack:
    """Probe about a boundary point, learn the normal, follow the semicircle to a nearer point, and again."""
    point = yield from best_start(problem)
    if point is None:
        return
    stepper = Stepper(problem, point, LOW, parameters or StepParameters())
    while (distance := norm(point - problem.original)) >= 1:
        point = yield from stepper.step(point, distance)
        stepper.moved()


class Stepper:
    """A belief about the normal in one band, and the steps that it leads to."""

    def __init__(self, problem: Problem, start: Vector, band: Band, parameters: StepParameters) -> None:
        self.problem, self.parameters = problem, parameters
        self.space = coordinates(problem.side, parameters.dim, band.half, band.decay, band.centre)
        self.arc = ArcSearch(problem, parameters.tolerance)
        self.belief = NormalPosterior(self.space.prior, parameters.offset)
        self.belief.guess(self.space.reduce((start - problem.original)[None])[0], parameters.trust)

    def step(self, point: Vector, distance: float, most: int | None = None) -> Generator[Pixels, Hits, Vector]:
        """(D,) a nearer point; about this one at most `most` probes are spent, and one at least."""
        p = self.parameters
        reach = max(p.radius * distance, lattice_reach(self.problem.dim))
        directions = self.belief.draw(self.problem.rng, p.chunk if most is None else max(1, min(most, p.chunk)))
        hits = yield probes_about(point, reach, directions, self.space.expand)
        self.belief.update(directions, hits)
        normal = self.space.expand(self.belief.normal()[None])[0]
        return (yield from self.arc.nearer(point, normal))

    def moved(self) -> None:
        """The point is another, so the normal may be."""
        self.belief.move(self.parameters.forget)
