"""The best mix: two beliefs about the normal, of low and of middle frequencies, and averaging take turns by success.

A robust network's normal lies in the low frequencies, an undefended one's also in the middle ones; which, is found by
trying. Where both are stuck, as on a plain ground that the network has learned for its class, averaging over all
frequencies goes on. Where the attacker has a network of its own, steps along that one's gradient take their turn too.
A belief steps as `regression` does; queries are counted, so that a budget ends with a finished search.
N probes, D values of a picture, d coefficients.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from attack.decision.averaging import AveragingParameters, AveragingStepper
from attack.decision.problem import Attack, Hits, Problem, distances, norm
from attack.decision.regression import LOW, Band, StepParameters, Stepper
from attack.decision.starts import best_start, near_copies
from attack.decision.transfer import TransferParameters, TransferStepper, transferred
from model.pixels import Pixels

Result = TypeVar("Result")


@dataclass(frozen=True)
class AutoParameters:
    """Chosen on validation photos, against an undefended and a robust network."""

    bands: tuple[Band, ...] = (LOW, Band(20, 8, 2))
    """Of the beliefs that take turns."""
    steps: StepParameters = field(default_factory=StepParameters)
    """Of each belief."""
    averaging: AveragingParameters = field(default_factory=AveragingParameters)
    """Of the steps in all frequencies."""
    expected_gain: float = 1e-4
    """Of a query of them, in the logarithm of the distance: once both beliefs gain less, they are tried."""
    transfer: TransferParameters = field(default_factory=TransferParameters)
    """Of the steps along a surrogate's gradient, where there is a surrogate."""
    search: int = 10
    """Queries kept for the last search on the semicircle."""


def auto(problem: Problem, parameters: AutoParameters | None = None) -> Attack:
    """Start as near as may be; then the way that of late gained most per query is gone on."""
    p = parameters or AutoParameters()
    meter = _Meter(problem.budget - 2)  # the clean photo and its map
    point = yield from meter.counted(best_start(problem, copies=_copies(problem, p)))
    if point is None:
        return
    beliefs = [Stepper(problem, point, band, p.steps) for band in p.bands]
    steppers: list[Stepper | AveragingStepper | TransferStepper] = [*beliefs, AveragingStepper(problem, p.averaging)]
    # Logarithm of the distance, per query: expected of what was not tried yet, else of the last steps.
    gains = [math.inf] * len(beliefs) + [p.expected_gain]
    if problem.surrogate is not None:
        steppers.append(TransferStepper(problem, problem.surrogate, p.transfer))
        gains.append(math.inf)
    tried = set[int]()
    while (distance := norm(point - problem.original)) >= 1:
        best = gains.index(max(gains))
        before = meter.left
        point = yield from meter.counted(steppers[best].step(point, distance, meter.left - p.search))
        gain = math.log(distance / max(norm(point - problem.original), 1)) / (before - meter.left)
        gains[best] = (gains[best] + gain) / 2 if best in tried else gain
        tried.add(best)
        for stepper in steppers:
            stepper.moved()


def _copies(problem: Problem, p: AutoParameters) -> Pixels:
    """(N, D) what is tried as a start before any photo, nearest first."""
    copies = near_copies(problem)
    if problem.surrogate is None:
        return copies
    copies = np.concatenate([copies, transferred(problem, problem.surrogate, p.transfer)])
    return copies[np.argsort(distances(problem, copies), kind="stable")]


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
