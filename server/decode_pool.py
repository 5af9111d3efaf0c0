"""The decoding of a request's images in threads, which ends early where the request does. S side of the square."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from model.pixels import Pixels
from server.batcher import Batcher, Job
from server.problems import Problem
from server.threads import Task, Threads

Decode = Callable[[Pixels, int], str]
"""Fills a square, uint8 (S, S, 3), from a picture with at most so many pixels, and returns the hash of its pixels."""
Outcome = str | Problem
TOGETHER: Final = 8
"""Images decoded in one piece of work: large enough to be worth the switch of threads, small enough to share them."""

_log = structlog.get_logger()


class Work:
    """One request's images on their way through the threads and the queue; `end` ends it at whatever stage it is."""

    def __init__(self, batcher: Batcher, slots: Sequence[int]) -> None:
        self.batcher, self._slots = batcher, slots
        self._pieces: list[tuple[Sequence[int], Task[list[Outcome]]]] = []
        self._waiting: asyncio.Future[list[Outcome]] | None = None
        self._job: Job | None = None
        self._problem: Exception | None = None

    async def decode(
        self, threads: Threads, decoders: Sequence[Decode], squares: Pixels, max_pixels: int
    ) -> list[Outcome]:
        """The hash or the problem of each image, whose pixels then are in its slot of `squares` (slots, S, S, 3).

        Raises what `end` was given. Slots of work that was not finished are given back, each when nothing writes there.
        """
        for start in range(0, len(decoders), TOGETHER):
            slots = self._slots[start : start + TOGETHER]
            piece = list(zip(decoders[start : start + TOGETHER], [squares[slot] for slot in slots], strict=True))
            self._pieces.append((slots, threads.submit(partial(_attempt_all, piece, max_pixels))))
        outcomes: list[Outcome] = []
        try:
            for _, piece_of_work in self._pieces:
                self._waiting = piece_of_work.done
                outcomes += await self._waiting
                if self._problem is not None:
                    raise self._problem
        except BaseException:  # also the cancelling by `end` and by the end of the server
            self._abandon()
            if self._problem is not None:
                raise self._problem from None
            raise
        return outcomes

    async def wait(self, slots: Sequence[int]) -> Job:
        """Queue these slots and wait for their labels. Raises what `end` was given."""
        self._job = self.batcher.submit(slots)
        await self._job.done
        return self._job

    def end(self, problem: Exception) -> None:
        """Stop, because of `problem`: what has not begun never will."""
        self._problem = problem
        if self._job is not None:
            self.batcher.drop(self._job, problem)
        elif self._waiting is not None:
            self._waiting.cancel()

    def _abandon(self) -> None:
        for slots, piece in self._pieces:
            if piece.claim() or piece.ended:
                self.batcher.release(slots)
            else:  # a thread writes there now
                piece.afterwards = partial(self.batcher.release, slots)


def _attempt_all(piece: Sequence[tuple[Decode, Pixels]], max_pixels: int) -> list[Outcome]:
    return [_attempt(decode, square, max_pixels) for decode, square in piece]


def _attempt(decode: Decode, square: Pixels, max_pixels: int) -> Outcome:
    try:
        return decode(square, max_pixels)
    except Problem as problem:
        return problem
    except Exception:  # noqa: BLE001  (a defect of ours must neither cost the slot nor the neighbours)
        _log.exception("decoding failed")
        return Problem("The picture could not be decoded.")
