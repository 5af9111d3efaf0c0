"""The queue before the worker, driven by hand: no worker, no clock."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.batcher import Batcher, Job
from server.problems import Unavailable

pytestmark = pytest.mark.unit


class Bench:
    """A batcher whose worker is this test."""

    def __init__(self, slots: int = 32, max_batch: int = 4) -> None:
        self.sent: list[list[int]] = []
        self.finished: list[int] = []
        self.batcher = Batcher(slots, max_batch, lambda size, _: self.finished.append(size))
        self.batcher.send = self.sent.append

    def ask(self, count: int = 1) -> Job:
        return self.batcher.submit(self.batcher.reserve(count))

    def finish(self) -> None:
        self.batcher.finish(0.1, bytes(slot % 3 for slot in self.sent[-1]))


def in_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    run.__name__ = test.__name__
    return run


@in_loop
async def test_idle_sends_at_once_and_busy_gathers() -> None:
    bench = Bench()
    first = bench.ask()
    assert [len(batch) for batch in bench.sent] == [1]
    later = [bench.ask() for _ in range(6)]
    assert len(bench.sent) == 1
    bench.finish()
    assert [len(batch) for batch in bench.sent] == [1, 4]
    bench.finish()
    bench.finish()
    assert [len(batch) for batch in bench.sent] == [1, 4, 2]
    assert await first.done
    assert all([await job.done for job in later])
    assert bench.batcher.in_house == 0


@in_loop
async def test_labels_find_their_images() -> None:
    bench = Bench(max_batch=3)
    jobs = [bench.ask(count) for count in (1, 5, 2)]
    expected = [[("bicycle", "bird", "abstain")[slot % 3] for slot in job.slots] for job in jobs]
    while not all(job.done.done() for job in jobs):
        bench.finish()
    assert [job.labels for job in jobs] == expected
    assert sum(bench.finished) == 8


@in_loop
async def test_full_is_refused_with_a_time() -> None:
    bench = Bench(slots=4)
    bench.ask(3)
    with pytest.raises(Unavailable) as refusal:
        bench.batcher.reserve(2)
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s >= 1
    assert len(bench.batcher.reserve(1)) == 1


@in_loop
async def test_dropped_work_leaves_the_queue() -> None:
    bench = Bench()
    bench.ask()
    gone, stays = bench.ask(3), bench.ask(2)
    bench.batcher.drop(gone, Unavailable("late"))
    assert bench.batcher.in_house == 3
    bench.finish()
    assert bench.sent[-1] == list(stays.slots)
    bench.finish()
    assert await stays.done
    with pytest.raises(Unavailable):
        await gone.done


@in_loop
async def test_dropped_in_the_worker_keeps_its_slots_until_it_ends() -> None:
    bench = Bench()
    job = bench.ask(2)
    bench.batcher.drop(job, Unavailable("late"))
    assert bench.batcher.in_house == 2
    bench.finish()
    assert bench.batcher.in_house == 0


@in_loop
async def test_a_lost_worker_has_each_image_tried_alone_once_more() -> None:
    bench = Bench()
    bench.ask()
    victims = [bench.ask() for _ in range(3)]
    newcomer = bench.ask()
    bench.finish()
    assert len(bench.sent[-1]) == 4
    bench.batcher.worker_lost()
    assert bench.batcher.send is None
    bench.batcher.dispatch()
    assert len(bench.sent) == 2
    bench.batcher.send = bench.sent.append
    bench.batcher.dispatch()
    assert bench.sent[-1] == list(victims[0].slots)
    bench.batcher.worker_lost()  # the first victim was the poison
    with pytest.raises(Unavailable, match="twice"):
        await victims[0].done
    bench.batcher.send = bench.sent.append
    bench.batcher.dispatch()
    for _ in range(3):
        bench.finish()
    assert [job.done.result() for job in (*victims[1:], newcomer)] == [True] * 3
    assert bench.batcher.in_house == 0


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ask", "finish", "drop", "crash"]), st.integers(0, 8)), max_size=60))
def test_no_slot_is_ever_lost_or_shared(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        bench, jobs = Bench(slots=16), []
        for step, number in steps:
            if step == "ask" and number + 1 <= 16 - bench.batcher.in_house:
                jobs.append(bench.ask(number + 1))
            elif step == "finish" and bench.batcher.flight_s:
                bench.finish()
            elif step == "drop" and jobs:
                bench.batcher.drop(jobs[number % len(jobs)], Unavailable("gone"))
            elif step == "crash":
                bench.batcher.worker_lost()
                bench.batcher.send = bench.sent.append
                bench.batcher.dispatch()
            free = bench.batcher._free
            assert len(free) == len(set(free))
        while bench.batcher.flight_s:
            bench.finish()
        assert bench.batcher.in_house == 0
        assert all(job.done.done() for job in jobs)
        for job in jobs:
            if job.done.exception() is None:
                assert job.labels == [("bicycle", "bird", "abstain")[slot % 3] for slot in job.slots]

    asyncio.run(play())
