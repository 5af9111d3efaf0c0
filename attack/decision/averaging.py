"""The normal in all frequencies, by averaging: for what is left once the few coefficients of a belief are known.

N probes, D values of a picture.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from attack.decision.arc import ArcSearch
from attack.decision.cgba import lattice_reach, signs
from attack.decision.problem import Hits, Problem, Vector, to_lattice
from attack.decision.texture import Place, texture
from model.pixels import Pixels


@dataclass(frozen=True)
class AveragingParameters:
    """Of a step to a nearer point; chosen on validation photos."""

    probes: int = 160
    """About each boundary point."""
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

    def step(self, point: Vector, distance: float, most: int) -> Generator[Pixels, Hits, Vector]:
        """(D,) a nearer point; about this one at most `most` probes are spent, and one at least."""
        p = self.parameters
        reach = np.float32(max(p.radius * distance, lattice_reach(self.problem.dim)))
        places: list[Place] = []
        answers: list[Hits] = []
        n = max(1, min(most, p.probes))
        while len(places) < n:
            chunk = texture(self.problem.side).places(self.problem.rng, min(p.chunk, n - len(places)))
            answers.append((yield np.stack([self._probe(point, reach, place) for place in chunk])))
            places += chunk
        return (yield from self.arc.nearer(point, self._normal(places, np.concatenate(answers))))

    def moved(self) -> None:
        """The point is another: nothing to forget."""

    def _probe(self, point: Vector, reach: np.float32, place: Place) -> Pixels:
        return to_lattice(point + reach * texture(self.problem.side).direction(place))

    def _normal(self, places: list[Place], hits: Hits) -> Vector:
        weights = signs(hits)
        if 0 < hits.sum() < len(hits):  # a point off the boundary has more answers of one kind
            weights -= weights.mean()
        total = np.zeros(self.problem.dim, np.float32)
        for place, weight in zip(places, weights, strict=True):
            total += weight * texture(self.problem.side).direction(place)
        return texture(self.problem.side).normal(total)
