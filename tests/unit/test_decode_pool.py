"""Decoding in threads that ends early: what has not begun never does, and no slot is given back while it is written."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from model.pixels import Pixels
from server.batcher import Batcher
from server.decode_pool import TOGETHER, Decode, Work
from server.problems import NotAnImage, Unavailable
from server.threads import Threads

pytestmark = pytest.mark.unit
SQUARES = np.zeros((64, 2, 2, 3), np.uint8)


def fill(value: int) -> Decode:
    def decode(square: Pixels, _: int) -> str:
        square[...] = value
        return str(value)

    return decode


def fail(_: Pixels, __: int) -> str:
    raise NotAnImage("broken")


def crash(_: Pixels, __: int) -> str:
    raise KeyError("a defect")


@contextmanager
def decoding_threads(count: int) -> Iterator[Threads]:
    threads = Threads(count, "test")
    yield threads
    threads.close()


def batcher() -> Batcher:
    return Batcher(len(SQUARES), 8, lambda *_: None)


def test_each_image_has_its_outcome() -> None:
    async def run() -> None:
        queue = batcher()
        slots = queue.reserve(20)
        decoders = [fill(number) for number in range(20)]
        decoders[3], decoders[17] = fail, crash
        with decoding_threads(2) as threads:
            outcomes = await Work(queue, slots).decode(threads, decoders, SQUARES, 100)
        assert isinstance(outcomes[3], NotAnImage)
        assert "KeyError" not in str(outcomes[17])
        good = [number for number in range(20) if number not in (3, 17)]
        assert [outcomes[number] for number in good] == [str(number) for number in good]
        assert [SQUARES[slots[number], 0, 0, 0] for number in good] == good

    asyncio.run(run())


def test_an_end_while_decoding_waits_for_nothing_and_keeps_the_slots_that_are_written() -> None:
    async def run() -> None:
        queue, go, begun = batcher(), threading.Event(), threading.Event()

        def block(_: Pixels, __: int) -> str:
            begun.set()
            assert go.wait(10)
            return ""

        with decoding_threads(1) as threads:
            work = Work(queue, queue.reserve(3 * TOGETHER))
            task = asyncio.create_task(work.decode(threads, [block] + [fail] * (3 * TOGETHER - 1), SQUARES, 100))
            await asyncio.to_thread(begun.wait, 10)
            work.end(Unavailable("late"))
            with pytest.raises(Unavailable, match="late"):
                await task
            await asyncio.sleep(0.01)
            assert queue.in_house == TOGETHER  # the piece that a thread still writes
            go.set()
        await asyncio.sleep(0.01)
        assert queue.in_house == 0

    asyncio.run(run())


def test_an_end_between_decoding_and_the_queue() -> None:
    async def run() -> None:
        queue = batcher()
        with decoding_threads(1) as threads:
            work = Work(queue, queue.reserve(2))
            task = asyncio.create_task(work.decode(threads, [fill(1)] * 2, SQUARES, 100))
            await asyncio.sleep(0)
            time.sleep(0.05)  # decoded by now, and the task does not know it yet
            work.end(Unavailable("late"))
            with pytest.raises(Unavailable, match="late"):
                await task
        await asyncio.sleep(0.01)
        assert queue.in_house == 0

    asyncio.run(run())


def test_an_end_in_the_queue() -> None:
    async def run() -> None:
        queue = batcher()
        work = Work(queue, slots := queue.reserve(2))
        task = asyncio.create_task(work.wait(slots))
        await asyncio.sleep(0)
        work.end(Unavailable("late"))
        with pytest.raises(Unavailable, match="late"):
            await task
        assert queue.in_house == 0

    asyncio.run(run())
