"""What an attack computes by itself for a query, measured against a stand-in that answers at once: nobody is asked.

N batch, S side.
"""

import time
from contextlib import suppress
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from attack.evaluation.protocol import Planned
from attack.evaluation.searches import mapped
from attack.evaluation.session import Session
from attack.evaluation.subject import Subject
from attack.evaluation.walks import max_l2
from attack.gradient.balls import lengths
from model.console import unseen

LEFT_OUT: Final = 100
"""Queries before the clock starts: photos are read, and a walk looks for a start."""
MEASURED: Final = 400


def own_s(session: Session, planned: Planned) -> float:
    """Seconds a query of this row takes besides the answer, on its first photo alone; without a surrogate's."""
    photo = planned.photos[0]
    (chunk,) = session.chunks([photo])
    stand_in = _StandIn(session.subject, mapped(session, chunk), photo.label)
    other = photo._replace(label=1 - photo.label)  # what a walk may start from, whatever other photos there are
    with suppress(_EnoughError):
        planned.row.run(Session(stand_in, session.seed), [photo], unseen, [other])
    return stand_in.seconds_a_query


class _EnoughError(Exception):
    """The row was watched for long enough."""


class _StandIn(Subject):
    """Right about a picture and all that is nearer to it than any attack may go, else wrong: none is done early."""

    kind = reference = "stand-in"

    def __init__(self, subject: Subject, centre: Tensor, label: int) -> None:
        """`centre` is (1, 3, S, S)."""
        super().__init__(subject.input_size, str(subject.device))
        self.batch = subject.batch
        self.centre, self.label, self.reach = centre, label, 3 * max_l2(subject.input_size)
        self.ticks: list[tuple[int, float]] = []
        """Queries and the time, from `LEFT_OUT` queries on."""

    @property
    def seconds_a_query(self) -> float:
        """From the first tick to the last; 0 where the row ended before."""
        if not self.ticks:
            return 0.0
        (before, began), (after, ended) = self.ticks[0], self.ticks[-1]
        return (ended - began) / max(1, after - before)

    def _answer(self, x: Tensor) -> Tensor:
        if self.queries > LEFT_OUT:
            self.ticks.append((self.queries, time.monotonic()))
        if self.queries > LEFT_OUT + MEASURED:
            raise _EnoughError
        near = lengths(x - self.centre).flatten() <= self.reach
        return F.one_hot(torch.where(near, self.label, 1 - self.label), 2)
