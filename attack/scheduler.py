"""Pools the probes of many photos into full requests, and keeps as many requests under way as the endpoint bears."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

import numpy as np

from attack.journal import Journal
from attack.oracle import Oracle
from attack.track import Track

REQUEST_BYTES: Final = 4 * 2**20
"""A request carries at most so many bytes of pixels."""
POOL_BYTES: Final = 48 * 2**20
"""No further photo begins while more pixels than this wait or are under way."""
STATE_BYTES: Final = 140 * 2**20
"""What the photos under attack may hold in all."""
TRACK_PICTURES: Final = 46
"""What one of them holds, in pictures: a chunk of 30 probes, and four vectors of four bytes a value."""
MAX_ACTIVE: Final = 64


@dataclass
class _Chunk:
    """The pictures a photo waits for; they may travel in several requests."""

    track: Track
    labels: list[str | None]


Place = tuple[_Chunk, int]


class Scheduler:
    """Runs tracks to their end, many at a time. The order of answers cannot change what any one track finds."""

    def __init__(self, oracle: Oracle, journal: Journal | None = None, max_active: int | None = None) -> None:
        picture_bytes = 3 * oracle.input_size**2
        self.oracle, self.journal = oracle, journal
        self.max_active = max_active or max(4, min(MAX_ACTIVE, STATE_BYTES // (TRACK_PICTURES * picture_bytes)))
        self.batch = max(1, min(oracle.max_batch, REQUEST_BYTES // picture_bytes))
        self.pool_pictures = max(2 * self.batch, POOL_BYTES // picture_bytes)
        self.queries = 0
        self._waiting: deque[Place] = deque()
        self._flying: dict[Future[list[str]], list[Place]] = {}
        self._active = 0

    def run(self, tracks: Iterator[Track], on_answers: Callable[[], None] = lambda: None) -> Iterator[Track]:
        """Yield each track as it ends. `on_answers` is called after every request."""
        with ThreadPoolExecutor(self.oracle.max_slots) as executor:
            while True:
                yield from self._admit(tracks)
                self._send(executor)
                if not self._flying:
                    return
                for future in wait(self._flying, return_when=FIRST_COMPLETED).done:
                    yield from self._receive(future)
                on_answers()

    def _admit(self, tracks: Iterator[Track]) -> Iterator[Track]:
        while self._active < self.max_active and self._outstanding() < self.pool_pictures:
            track = next(tracks, None)
            if track is None:
                return
            self._active += 1
            yield from self._enqueue(track)

    def _outstanding(self) -> int:
        return len(self._waiting) + sum(map(len, self._flying.values()))

    def _enqueue(self, track: Track) -> Iterator[Track]:
        if track.done:
            self._active -= 1
            yield track
            return
        chunk = _Chunk(track, [None] * len(track.pending))
        self._waiting.extend((chunk, place) for place in range(len(chunk.labels)))

    def _send(self, executor: ThreadPoolExecutor) -> None:
        while self._waiting and len(self._flying) < self.oracle.slots:
            places = [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]
            pixels = np.stack([chunk.track.pending[place] for chunk, place in places])
            self._flying[executor.submit(self.oracle.labels, pixels)] = places

    def _receive(self, future: Future[list[str]]) -> Iterator[Track]:
        places = self._flying.pop(future)
        labels = future.result()
        self.queries += len(labels)
        for (chunk, place), label in zip(places, labels, strict=True):
            chunk.labels[place] = label
        for chunk in {id(chunk): chunk for chunk, _ in places}.values():
            answered = [label for label in chunk.labels if label is not None]
            if len(answered) == len(chunk.labels):
                if self.journal is not None:
                    self.journal.answered(chunk.track.outcome.name, chunk.track.crc(), answered)
                chunk.track.answer(answered)
                yield from self._enqueue(chunk.track)
