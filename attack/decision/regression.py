"""Normal by regression: the semicircle steps of CGBA, with a normal learned from every answer so far.

N probes, D values of a picture, d coefficients.
"""

from dataclasses import dataclass

from attack.decision.arc import search_arc
from attack.decision.cgba import lattice_reach
from attack.decision.posterior import NormalPosterior
from attack.decision.problem import Attack, Problem, norm, probes_about
from attack.decision.starts import best_start
from attack.decision.subspace import coordinates


@dataclass(frozen=True)
class RegressionParameters:
    """Chosen on validation photos, against an undefended and a robust network."""

    dim: int = 432
    """Coefficients of the belief."""
    half: float = 8.0
    """Frequency, in half periods a side, beyond which less of the normal is expected."""
    decay: float = 1.0
    """How fast it gets less."""
    first_block: int = 60
    """Probes about the first boundary point."""
    growth: float = 0.0
    """Further probes with each point, as a share of `first_block`."""
    chunk: int = 30
    """Probes between two updates of the belief; they travel together."""
    radius: float = 0.1
    """Distance of the probes from the boundary point, relative to the point's distance from the original."""
    offset: float = 0.05
    """How far off the boundary the point may be, relative to the probes' distance."""
    forget: float = 0.02
    """Share of the belief that is lost when the point moves."""
    tolerance: float = 2e-3
    """Of the search on the semicircle, relative to the distance."""
    trust: float = 0.15
    """Length of the first guess of the normal: the way from the original to the start."""


def regression(problem: Problem, parameters: RegressionParameters | None = None) -> Attack:
    """Probe about a boundary point, learn the normal, follow the semicircle to a nearer point, and again."""
    p = parameters or RegressionParameters()
    point = yield from best_start(problem)
    if point is None:
        return
    space = coordinates(problem.side, p.dim, p.half, p.decay)
    belief = NormalPosterior(space.prior, p.offset)
    belief.guess(space.reduce((point - problem.original)[None])[0], p.trust)
    step = 0
    while (distance := norm(point - problem.original)) >= 1:
        reach = max(p.radius * distance, lattice_reach(problem.dim))
        for _ in range(max(1, round(p.first_block * (1 + p.growth * step) / p.chunk))):
            directions = belief.draw(problem.rng, p.chunk)
            hits = yield probes_about(point, reach, directions, space.expand)
            belief.update(directions, hits)
        point = yield from search_arc(problem, point, space.expand(belief.normal()[None])[0], p.tolerance)
        belief.move(p.forget)
        step += 1
