"""Decoding in threads that ends early: what has not begun never does, and no slot is given back while it is written."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from model.pixels import Pixels
from server.batcher import Batcher
from server.decode_pool import SMALL_PIXELS, TOGETHER, Decode, DecodePool, Work
from server.problems import NotAnImage, TooLarge, Unavailable

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
def decoding_pool(threads: int, max_pixels: int = 100, room: int = 100) -> Iterator[DecodePool]:
    pool = DecodePool(threads, max_pixels, room)
    yield pool
    pool.close()


def batcher() -> Batcher:
    return Batcher(len(SQUARES), 8, lambda *_: None)


def test_each_image_has_its_outcome() -> None:
    async def run() -> None:
        queue = batcher()
        decoders = [fill(number) for number in range(20)]
        decoders[3], decoders[17] = fail, crash
        with decoding_pool(2) as pool:
            outcomes = await (work := Work()).decode(queue, pool, decoders, SQUARES)
        assert isinstance(outcomes[3], NotAnImage)
        assert "KeyError" not in str(outcomes[17])
        good = [number for number in range(20) if number not in (3, 17)]
        assert [outcomes[number] for number in good] == [str(number) for number in good]
        assert [SQUARES[work._slots[number], 0, 0, 0] for number in good] == good
        assert queue.in_house == len(good)

    asyncio.run(run())


def test_an_end_while_decoding_waits_for_nothing_and_keeps_the_slots_that_are_written() -> None:
    async def run() -> None:
        queue, go, begun = batcher(), threading.Event(), threading.Event()

        def block(_: Pixels, __: int) -> str:
            begun.set()
            assert go.wait(30)
            return ""

        with decoding_pool(1) as pool:
            work = Work()
            task = asyncio.create_task(work.decode(queue, pool, [block] + [fail] * (3 * TOGETHER - 1), SQUARES))
            await asyncio.to_thread(begun.wait, 30)
            work.end(Unavailable("late"))
            with pytest.raises(Unavailable, match="late"):
                await task
            await asyncio.sleep(0.01)
            assert queue.in_house == TOGETHER  # the piece that a thread still writes
            go.set()
        await until(lambda: queue.in_house == 0)

    asyncio.run(run())


def test_an_end_between_decoding_and_the_queue() -> None:
    async def run() -> None:
        queue = batcher()
        with decoding_pool(1) as pool:
            work = Work()
            task = asyncio.create_task(work.decode(queue, pool, [fill(1)] * 2, SQUARES))
            await asyncio.sleep(0)
            time.sleep(0.05)  # decoded by now, and the task does not know it yet
            work.end(Unavailable("late"))
            with pytest.raises(Unavailable, match="late"):
                await task
        await until(lambda: queue.in_house == 0)

    asyncio.run(run())


def test_an_end_in_the_queue() -> None:
    async def run() -> None:
        queue = batcher()
        with decoding_pool(1) as pool:
            await (work := Work()).decode(queue, pool, [fill(1), fail], SQUARES)
        task = asyncio.create_task(work.label([0]))
        await asyncio.sleep(0)
        assert queue.in_house == 1
        work.end(Unavailable("late"))
        with pytest.raises(Unavailable, match="late"):
            await task
        assert queue.in_house == 0

    asyncio.run(run())


LARGE = 2 * SMALL_PIXELS
MOST = 8 * SMALL_PIXELS


class Gauge:
    """Large pictures that tell how many pixels of them were decoded at once, and end when they are let go."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.go = threading.Event()
        self._lock = threading.Lock()

    def picture(self, pixels: int) -> Decode:
        def decode(_: Pixels, max_pixels: int) -> str:
            if pixels > max_pixels:
                raise TooLarge(f"at most {max_pixels}", pixels)
            with self._lock:
                self.now += pixels
                self.most = max(self.most, self.now)
            assert self.go.wait(30)
            with self._lock:
                self.now -= pixels
            return str(pixels)

        return decode


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def test_large_pictures_wait_for_room_and_small_ones_pass_beside_them() -> None:
    async def run() -> None:
        queue, gauge = batcher(), Gauge()
        with decoding_pool(8, MOST, 2 * LARGE) as pool:
            large = [
                asyncio.create_task(Work().decode(queue, pool, [gauge.picture(LARGE)], SQUARES)) for _ in range(12)
            ]
            await until(lambda: gauge.now == 2 * LARGE)
            assert await Work().decode(queue, pool, [fill(1)], SQUARES) == ["1"]
            assert gauge.now == 2 * LARGE
            gauge.go.set()
            assert await asyncio.gather(*large) == [[str(LARGE)]] * 12
            assert gauge.most == 2 * LARGE
            assert pool.room.free == pool.room.size

    asyncio.run(run())


def test_a_picture_beyond_the_bound_is_refused_without_waiting_for_room() -> None:
    async def run() -> None:
        queue, gauge = batcher(), Gauge()
        with decoding_pool(2, MOST, MOST) as pool:
            first = asyncio.create_task(Work().decode(queue, pool, [gauge.picture(MOST)], SQUARES))
            await until(lambda: gauge.now == MOST)
            (outcome,) = await Work().decode(queue, pool, [gauge.picture(MOST + 1)], SQUARES)
            assert isinstance(outcome, TooLarge)
            assert str(outcome) == f"at most {MOST}", "the bound is told, and not that of small pictures"
            gauge.go.set()
            await first

    asyncio.run(run())


def test_an_end_in_the_line_for_room_and_one_while_a_large_picture_is_decoded() -> None:
    async def run() -> None:
        queue, gauge = batcher(), Gauge()
        with decoding_pool(2, MOST, MOST) as pool:
            works = [Work() for _ in range(3)]
            tasks = [asyncio.create_task(work.decode(queue, pool, [gauge.picture(MOST)], SQUARES)) for work in works]
            await until(lambda: gauge.now == MOST)
            for work, task in zip(works[:2], tasks[:2], strict=True):
                work.end(Unavailable("late"))
                with pytest.raises(Unavailable, match="late"):
                    await task
            assert queue.in_house == 2, "the slot that is written, and that of the last in the line"
            gauge.go.set()
            assert await tasks[2] == [str(MOST)]
            assert (queue.in_house, pool.room.free) == (1, MOST)

    asyncio.run(run())


def test_a_piece_ends_with_its_request() -> None:
    async def run() -> None:
        queue, go, begun, decoded = batcher(), threading.Event(), threading.Event(), []

        def block(_: Pixels, __: int) -> str:
            begun.set()
            assert go.wait(30)
            return ""

        def count(_: Pixels, __: int) -> str:
            decoded.append(1)
            return ""

        with decoding_pool(1) as pool:
            work = Work()
            task = asyncio.create_task(work.decode(queue, pool, [block, count, count, count], SQUARES))
            await asyncio.to_thread(begun.wait, 30)
            work.end(Unavailable("late"))
            with pytest.raises(Unavailable, match="late"):
                await task
            go.set()
            await until(lambda: queue.in_house == 0)
        assert decoded == []

    asyncio.run(run())
