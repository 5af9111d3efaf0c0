"""What an attack computes by itself for a query, measured against a stand-in that answers at once: nobody is asked.

N batch, S side.
"""

import time
from contextlib import suppress
from typing import Final, NamedTuple

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
"""Queries before the clock starts, where there are more: photos are read, and a walk looks for a start."""
MEASURED: Final = 400


class Rehearsal(NamedTuple):
    """A row on its first photo alone."""

    own_s: float
    """Seconds a query takes besides the answer; without a surrogate's."""
    together: float
    """Pictures that are asked at once, before anything is done about their answers."""


def rehearsed(session: Session, planned: Planned) -> Rehearsal:
    """Run a row until it has been watched for long enough."""
    photo = planned.photos[0]
    (chunk,) = session.chunks([photo])
    stand_in = _StandIn(session.subject, mapped(session, chunk), photo.label)
    other = photo._replace(label=1 - photo.label)  # what a walk may start from, whatever other photos there are
    with suppress(_EnoughError):
        planned.row.run(Session(stand_in, session.seed), [photo], unseen, [other])
        stand_in.tick()
    return stand_in.seen


class _EnoughError(Exception):
    """The row was watched for long enough."""


class _StandIn(Subject):
    """Right about a picture and all that is nearer to it than any attack may go, else wrong: none is done early."""

    kind = reference = "stand-in"

    def __init__(self, subject: Subject, centre: Tensor, label: int) -> None:
        """`centre` is (1, 3, S, S)."""
        super().__init__(subject.input_size, str(subject.device))
        self.batch = subject.pool
        self.centre, self.label, self.reach = centre, label, 3 * max_l2(subject.input_size)
        self.began = time.monotonic()
        self.ticks: list[tuple[int, float]] = []
        """The time whenever pictures are asked, and at the end, and how many had been asked before."""

    def tick(self, pictures: int = 0) -> None:
        """Note the time; so many pictures are asked now."""
        self.ticks.append((self.queries - pictures, time.monotonic()))

    @property
    def seen(self) -> Rehearsal:
        """From `LEFT_OUT` queries on; all of a row that asks no more."""
        ticks = [tick for tick in self.ticks if tick[0] >= LEFT_OUT]
        if len(ticks) < 2:
            ticks = [(0, self.began), *self.ticks[1:]]
        (before, began), (after, ended) = ticks[0], ticks[-1]
        queries = max(1, after - before)
        return Rehearsal((ended - began) / queries, queries / max(1, len(ticks) - 1))

    def _answer(self, x: Tensor) -> Tensor:
        self.tick(len(x))
        if self.queries > LEFT_OUT + MEASURED and len(self.ticks) > 2:
            raise _EnoughError
        near = lengths(x - self.centre).flatten() <= self.reach
        return F.one_hot(torch.where(near, self.label, 1 - self.label), 2)
