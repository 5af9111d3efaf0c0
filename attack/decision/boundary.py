"""The boundary attack (Brendel, Rauber and Bethge 2018, arXiv:1712.04248): a random walk along the boundary.

N probes, D values of a picture.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from attack.decision.problem import Attack, Problem, Vector, norm, tape_window, tape_windows, to_lattice
from attack.decision.starts import find_start
from model.pixels import Pixels


@dataclass(frozen=True)
class BoundaryParameters:
    """The defaults are those that the challenge's kit ran (foolbox 1.5)."""

    steps: int = 5000
    """Steps; each tries up to `max_directions` probes."""
    max_directions: int = 25
    """Directions tried in a step before the next begins."""
    batch: int = 1
    """Directions tried at once; the kit tuned it between 1 and 25 for speed alone."""
    spherical_step: float = 1e-2
    """First step on the sphere about the original, relative to the distance."""
    source_step: float = 1e-2
    """First step towards the original, relative to the distance."""
    step_adaptation: float = 1.5
    """Factor by which both steps grow or shrink."""
    check_every: int = 10
    """Every so many steps the spherical step alone is probed too, for the statistics."""
    spherical_window: int = 100
    """Spherical probes that an adaptation looks back on."""
    source_window: int = 30
    """Probes with both steps that an adaptation looks back on."""
    sphere_first: bool = True
    """Whether, where the spherical step alone is probed, only what it turned wrong is taken on towards the original."""
    source_shares: tuple[float, float] = (0.2, 0.5)
    """Shares of wrong answers below and above which the source step shrinks or grows."""

    @property
    def queries(self) -> int:
        """Probes at most, once a start is found."""
        return (self.steps + self.steps // self.check_every) * self.max_directions


TUNED = BoundaryParameters(
    max_directions=8,
    batch=4,
    check_every=5,
    spherical_window=15,
    source_window=15,
    spherical_step=3e-2,
    sphere_first=False,
    source_shares=(0.1, 0.25),
)
"""Shorter memory: the kit's adapts every thousandth step and spends a small budget on its first guess. What is taken
towards the original does not wait for the answer on the sphere, and the paper's quarter of it should end wrong."""


def boundary(problem: Problem, parameters: BoundaryParameters | None = None) -> Attack:
    """Walk along the boundary from the start that `find_start` finds.

    Differs from the paper and foolbox in that every point is a picture of the 8-bit lattice: steps shorter than the
    lattice come back to the same point, so the walk ends once the source step is below a hundredth of a level. Of a
    batch the nearest wrong answer is taken, not the first; where a candidate is cut off at 0 or 255, foolbox shortens
    its source step by what the cut brought.
    """
    parameters = parameters or BoundaryParameters()
    start = yield from find_start(problem)
    if start is not None:
        yield from _Walk(problem, start, parameters).steps()


class _Walk:
    def __init__(self, problem: Problem, start: Vector, parameters: BoundaryParameters) -> None:
        self.problem, self.point, self.parameters = problem, start, parameters
        self.spherical_step, self.source_step = parameters.spherical_step, parameters.source_step
        self.spherical_hits: deque[bool] = deque(maxlen=parameters.spherical_window)
        self.source_hits: deque[bool] = deque(maxlen=parameters.source_window)

    def steps(self) -> Attack:
        for step in range(1, self.parameters.steps + 1):
            distance = norm(self.point - self.problem.original)
            if distance * self.source_step < 1e-2:
                return
            if step % self.parameters.check_every == 0:
                yield from self._step_with_statistics(distance)
                self._adapt()
            else:
                yield from self._step(distance)

    def _step(self, distance: float) -> Attack:
        for _ in range(0, self.parameters.max_directions, self.parameters.batch):
            probes = self._candidates(distance, self.parameters.batch, self.source_step)
            hits = yield probes
            if self._accept(probes[hits], distance):
                return

    def _step_with_statistics(self, distance: float) -> Attack:
        """As `_step`, and the spherical step alone is probed too: of every candidate."""
        for _ in range(0, self.parameters.max_directions, self.parameters.batch):
            directions = self._directions(distance, self.parameters.batch)
            spherical, nearer = self._at(directions, distance, 0.0), self._at(directions, distance, self.source_step)
            if self.parameters.sphere_first:
                spherical_hits = yield spherical
                nearer = nearer[spherical_hits]
                hits = (yield nearer) if len(nearer) else spherical_hits[:0]
            else:
                spherical_hits, hits = np.split((yield np.concatenate([spherical, nearer])), 2)
            self.spherical_hits.extend(spherical_hits.tolist())
            self.source_hits.extend(hits.tolist())
            if self._accept(nearer[hits], distance):
                return

    def _accept(self, wrong: Pixels, distance: float) -> bool:
        if len(wrong) == 0:
            return False
        points = wrong.astype(np.float32)
        lengths = [norm(point - self.problem.original) for point in points]
        nearest = int(np.argmin(lengths))
        if lengths[nearest] >= distance:
            return False
        self.point = points[nearest]
        return True

    def _candidates(self, distance: float, n: int, source_step: float) -> Pixels:
        return self._at(self._directions(distance, n), distance, source_step)

    def _directions(self, distance: float, n: int) -> list[Vector]:
        """n unit vectors (D,): the one from the original to the point, turned by the spherical step."""
        radius = (self.point - self.problem.original) * np.float32(1 / distance)
        return [self._turned(radius, place, sign) for place, sign in tape_windows(self.problem, n)]

    def _turned(self, radius: Vector, place: int, sign: np.float32) -> Vector:
        tangent = tape_window(self.problem, place) * sign
        tangent -= (tangent @ radius) * radius
        tangent *= np.float32(self.spherical_step / norm(tangent))
        tangent += radius
        tangent *= np.float32(1 / np.sqrt(1 + self.spherical_step**2))
        return tangent

    def _at(self, directions: list[Vector], distance: float, source_step: float) -> Pixels:
        length = np.float32(distance * (1 - source_step))
        return np.stack([to_lattice(length * way + self.problem.original) for way in directions])

    def _adapt(self) -> None:
        """Foolbox's rule: the boundary looks flat if many spherical steps end wrong, and then both steps grow."""
        change = self._change(self.spherical_hits, 0.2, 0.5)
        self.spherical_step, self.source_step = self.spherical_step * change, self.source_step * change
        self.source_step *= self._change(self.source_hits, *self.parameters.source_shares)

    def _change(self, hits: deque[bool], low: float, high: float) -> float:
        """The factor that a full window asks for; the window then begins anew."""
        share = sum(hits) / len(hits) if len(hits) == hits.maxlen else (low + high) / 2
        if low <= share <= high:
            return 1.0
        hits.clear()
        return self.parameters.step_adaptation if share > high else 1 / self.parameters.step_adaptation
