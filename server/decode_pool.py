"""The decoding of a request's images in threads, which ends early where the request does. S side of the square."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from model.pixels import Pixels
from server.batcher import Batcher, Job
from server.problems import Problem, TooLarge
from server.room import Room
from server.threads import Task, Threads

T = TypeVar("T")
Decode = Callable[[Pixels, int], str]
"""Fills a square, uint8 (S, S, 3), from a picture with at most so many pixels, and returns the hash of its pixels."""
Outcome = str | Problem
TOGETHER: Final = 8
"""Images decoded in one piece of work: large enough to be worth the switch of threads, small enough to share them."""
GATHER: Final = 4
"""Pieces of pictures that may wait for each other while more are to be decoded: each waking of the loop costs."""
SMALL_PIXELS: Final = 1_000_000
"""Pictures with more pixels are large: they are decoded one by one, when there is room for them."""

_log = structlog.get_logger()


class DecodePool:
    """The threads that all requests share, and the room for large pictures. Those have threads of their own, so that
    small ones pass beside them."""

    def __init__(self, threads: int, max_pixels: int, max_decoding_pixels: int) -> None:
        self.max_pixels = max_pixels
        self.threads, self.large_threads = Threads(threads, "decode", GATHER), Threads(threads, "decode_large")
        self.room = Room(max_decoding_pixels)

    def close(self) -> None:
        """Let the threads go once they have done what was submitted."""
        self.threads.close()
        self.large_threads.close()


class Work:
    """One request on its way through the threads and the queue; `end` ends it at whatever stage it is.

    Each stage raises what `end` was given.
    """

    def __init__(self) -> None:
        self._batcher: Batcher
        self._slots: list[int] = []
        self._writers: dict[int, Task[Any]] = {}
        self._waiting: asyncio.Future[Any] | None = None
        self._job: Job | None = None
        self._problem: Exception | None = None

    async def in_thread(self, pool: DecodePool, call: Callable[[], T]) -> T:
        """What `call` returns."""
        task = pool.threads.submit(call)
        with self._unless_ended(task.call_off):
            return await self._result(task)

    async def decode(
        self, batcher: Batcher, pool: DecodePool, decoders: Sequence[Decode], squares: Pixels
    ) -> list[Outcome]:
        """The hash or the problem of each image, whose pixels then are in a slot of `squares` (slots, S, S, 3).

        Raises Unavailable when the queue is full. Slots of images with a problem are given back, and those of work that
        was not finished, each when nothing writes there.
        """
        self._batcher, self._slots = batcher, batcher.reserve(len(decoders))
        images = [(decode, squares[slot]) for decode, slot in zip(decoders, self._slots, strict=True)]
        with self._unless_ended(self._abandon):
            outcomes = await self._decode_small(pool, images)
            for index, outcome in enumerate(outcomes):
                if isinstance(outcome, TooLarge) and pool.max_pixels > SMALL_PIXELS:
                    outcomes[index] = await self._decode_large(pool, index, images[index], outcome.pixels)
        batcher.release([self._slots[index] for index, one in enumerate(outcomes) if isinstance(one, Problem)])
        return outcomes

    async def label(self, good: Sequence[int]) -> Job | None:
        """Queue the images with these numbers, those that have no problem, and wait for their labels."""
        if not good:
            return None
        self._job = self._batcher.submit([self._slots[index] for index in good])
        await self._job.done
        return self._job

    def end(self, problem: Exception) -> None:
        """Stop, because of `problem`: what has not begun never will."""
        self._problem = problem
        if self._job is not None:
            self._batcher.drop(self._job, problem)
        elif self._waiting is not None:
            self._waiting.cancel()

    async def _decode_small(self, pool: DecodePool, images: Sequence[tuple[Decode, Pixels]]) -> list[Outcome]:
        """TooLarge of a large picture, too, which has told its size and was not decoded."""
        pieces = []
        for start in range(0, len(images), TOGETHER):
            piece = images[start : start + TOGETHER]
            task = pool.threads.submit(partial(self._attempt_all, piece, min(SMALL_PIXELS, pool.max_pixels)))
            self._writers.update(dict.fromkeys(self._slots[start : start + TOGETHER], task))
            pieces.append(task)
        return [outcome for task in pieces for outcome in await self._result(task)]

    async def _decode_large(self, pool: DecodePool, index: int, image: tuple[Decode, Pixels], pixels: int) -> Outcome:
        weight = pixels if pixels <= pool.max_pixels else 0  # one that is refused by its head needs no room
        self._waiting = turn = pool.room.take(weight)
        await turn
        task = pool.large_threads.submit(partial(_attempt, *image, pool.max_pixels))
        task.when_over(partial(pool.room.give_back, weight))
        self._writers[self._slots[index]] = task
        return await self._result(task)

    async def _result(self, task: Task[T]) -> T:
        self._expect_no_end()
        self._waiting = task.done
        result = await task.done
        self._expect_no_end()
        return result

    def _expect_no_end(self) -> None:
        if self._problem is not None:
            raise self._problem from None

    @contextmanager
    def _unless_ended(self, abandon: Callable[[], None]) -> Iterator[None]:
        try:
            yield
        except BaseException:  # also the cancelling by `end` and by the end of the server
            abandon()
            self._expect_no_end()
            raise

    def _abandon(self) -> None:
        for slot, writer in self._writers.items():
            writer.call_off()
            writer.when_over(partial(self._batcher.release, [slot]))

    def _attempt_all(self, piece: Sequence[tuple[Decode, Pixels]], max_pixels: int) -> list[Outcome]:
        """In a thread, which goes on from image to image as long as the request does."""
        return [_attempt(decode, square, max_pixels) for decode, square in piece if self._problem is None]


def _attempt(decode: Decode, square: Pixels, max_pixels: int) -> Outcome:
    try:
        return decode(square, max_pixels)
    except Problem as problem:
        return problem
    except Exception:  # noqa: BLE001  (a defect of ours must neither cost the slot nor the neighbours)
        _log.exception("decoding failed")
        return Problem("The picture could not be decoded.")
