"""Pools the probes of many photos into full requests, and keeps as many requests under way as the endpoint bears."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from attack.journal import Journal
from attack.oracle import Oracle
from attack.track import Track
from attack.wire.messages import REQUEST_BYTES
from attack.wire.workers import workers
from model.errors import RefusedError, UnansweredError

POOL_BYTES: Final = 48 * 2**20
"""No further photo begins while more pixels than this wait or are under way."""
STATE_BYTES: Final = 140 * 2**20
"""What the photos under attack may hold in all."""
TRACK_PICTURES: Final = 56
"""What one of them holds, in pictures: a chunk of 40 probes, and four vectors of four bytes a value."""
MAX_ACTIVE: Final = 64
UNANSWERED_IN_A_ROW: Final = 8
"""So many photos may find no label one after the other; an endpoint that answers none between them is broken."""


@dataclass
class _Chunk:
    """The pictures a photo waits for; they may travel in several requests."""

    track: Track
    labels: list[str | None]


Place = tuple[_Chunk, int]


class Scheduler:
    """Runs tracks to their end, many at a time. The order of answers cannot change what any one track finds.

    What the endpoint refuses goes again track by track, so that only a track whose own pictures are refused fails.
    """

    def __init__(self, oracle: Oracle, journal: Journal | None = None, max_active: int | None = None) -> None:
        picture_bytes = 3 * oracle.input_size**2
        self.oracle, self.journal = oracle, journal
        self.max_active = max_active or max(4, min(MAX_ACTIVE, STATE_BYTES // (TRACK_PICTURES * picture_bytes)))
        self.fitting = max(1, REQUEST_BYTES // picture_bytes)
        self.pool_pictures = max(2 * self.batch, POOL_BYTES // picture_bytes)
        self.queries = 0
        self._waiting: deque[Place] = deque()
        self._apart: deque[list[Place]] = deque()
        """Requests of one track each, whose pictures were refused in company."""
        self._answered = journal is not None and bool(journal.done or journal.answers)
        """Whether the endpoint has ever answered, an earlier run included."""
        self._unanswered = 0
        """Tracks that found no label since the last answer."""
        self._refusal: RefusedError | None = None
        self._flying: dict[Future[list[str]], list[Place]] = {}
        self._active = 0

    @property
    def batch(self) -> int:
        """Pictures per request."""
        return min(self.oracle.max_batch, self.fitting)

    def run(self, tracks: Iterator[Track], on_answers: Callable[[], None] = lambda: None) -> Iterator[Track]:
        """Yield each track as it ends. `on_answers` is called after every request.

        Raises EndpointError when the endpoint cannot be asked, or refuses every track and has answered none.
        """
        with workers(self.oracle.max_slots) as executor:
            while True:
                yield from self._admit(tracks)
                self._send(executor)
                if not self._flying:
                    break
                for future in wait(self._flying, return_when=FIRST_COMPLETED).done:
                    yield from self._receive(future)
                on_answers()
        if self._refusal is not None and not self._answered:
            raise self._refusal

    def _admit(self, tracks: Iterator[Track]) -> Iterator[Track]:
        while self._active < self.max_active and self._outstanding() < self.pool_pictures:
            track = next(tracks, None)
            if track is None:
                return
            self._active += 1
            yield from self._enqueue(track)

    def _outstanding(self) -> int:
        return len(self._waiting) + sum(map(len, chain(self._apart, self._flying.values())))

    def _enqueue(self, track: Track) -> Iterator[Track]:
        if track.done:
            self._active -= 1
            yield track
            return
        chunk = _Chunk(track, [None] * len(track.pending))
        self._waiting.extend((chunk, place) for place in range(len(chunk.labels)))

    def _send(self, executor: Executor) -> None:
        while (self._apart or self._waiting) and len(self._flying) < self.oracle.slots:
            places = self._apart.popleft() if self._apart else self._next()
            pixels = np.stack([chunk.track.pending[place] for chunk, place in places])
            self._flying[executor.submit(self.oracle.labels, pixels)] = places

    def _next(self) -> list[Place]:
        return [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]

    def _receive(self, future: Future[list[str]]) -> Iterator[Track]:
        places = self._flying.pop(future)
        try:
            yield from self._take(places, future.result())
        except RefusedError as error:
            labels = [*error.answered, *[None] * len(places)][: len(places)]
            answered = [place for place, label in zip(places, labels, strict=True) if label is not None]
            yield from self._take(answered, [label for label in labels if label is not None])
            others = [place for place, label in zip(places, labels, strict=True) if label is None]
            yield from self._refused(_by_chunk(others), error, alone=len(_by_chunk(places)) == 1)

    def _take(self, places: list[Place], labels: Sequence[str]) -> Iterator[Track]:
        self.queries += len(labels)
        if labels:
            self._answered, self._unanswered = True, 0
        for (chunk, place), label in zip(places, labels, strict=True):
            chunk.labels[place] = label
        for chunk in (group[0][0] for group in _by_chunk(places)):
            if chunk.track.done:  # refused while this was under way
                continue
            answered = [label for label in chunk.labels if label is not None]
            if len(answered) == len(chunk.labels):
                if self.journal is not None:
                    self.journal.answered(chunk.track.outcome.name, chunk.track.crc(), answered)
                chunk.track.answer(answered)
                yield from self._enqueue(chunk.track)

    def _refused(self, groups: list[list[Place]], error: RefusedError, alone: bool) -> Iterator[Track]:
        """Ask each track's pictures apart, those that got no label; a track that was alone in its request has failed.

        Raises UnansweredError where the endpoint seems to answer nothing at all.
        """
        if not alone:
            self._apart.extend(group for group in groups if not group[0][0].track.done)
            return
        chunk = groups[0][0][0]
        if chunk.track.done:
            return
        if isinstance(error, UnansweredError):
            self._unanswered += 1
            if not self._answered or self._unanswered > UNANSWERED_IN_A_ROW:
                raise error  # patience with each of the others would take hours
        self._refusal = self._refusal or error
        self._waiting = deque(place for place in self._waiting if place[0] is not chunk)
        self._apart = deque(group for group in self._apart if group[0][0] is not chunk)
        chunk.track.refuse(error)
        yield from self._enqueue(chunk.track)


def _by_chunk(places: list[Place]) -> list[list[Place]]:
    """The places of each chunk, in their order."""
    groups: dict[int, list[Place]] = {}
    for place in places:
        groups.setdefault(id(place[0]), []).append(place)
    return list(groups.values())
