"""Threads for the event loop: answers, errors, calls that are called off, and wake-ups that come together."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from server.threads import Threads

pytestmark = pytest.mark.unit


def test_calls_are_answered_and_errors_raised() -> None:
    async def run() -> None:
        threads = Threads(2, "test")
        tasks = [threads.submit(lambda number=number: 12 // number) for number in (1, 2, 0, 3)]
        answers = await asyncio.gather(*(task.done for task in tasks), return_exceptions=True)
        assert answers[:2] + answers[3:] == [12, 6, 4]
        assert isinstance(answers[2], ZeroDivisionError)
        threads.close()

    asyncio.run(run())


def test_what_is_called_off_is_never_called() -> None:
    async def run() -> None:
        threads, go, called = Threads(1, "test"), threading.Event(), []
        first = threads.submit(lambda: go.wait(30))
        second = threads.submit(lambda: called.append(2))
        third = threads.submit(lambda: called.append(3))
        held = weakref.ref(second.call)
        second.call_off()
        assert second.over
        assert held() is None, "what was called off is held until a thread comes by"
        go.set()
        await third.done
        assert called == [3]
        assert first.over
        assert not first.claim()
        threads.close()

    asyncio.run(run())


def test_what_ends_unheard_is_told_afterwards() -> None:
    async def run() -> None:
        threads, go, told = Threads(1, "test"), threading.Event(), asyncio.Event()
        task = threads.submit(lambda: go.wait(30))
        while task._ticket:
            await asyncio.sleep(0.001)
        task.done.cancel()
        task.call_off()
        task.when_over(told.set)
        assert not told.is_set()
        go.set()
        await asyncio.wait_for(told.wait(), 30)
        assert task.over
        threads.close()

    asyncio.run(run())


def test_answers_gather_only_while_more_calls_wait() -> None:
    async def run() -> None:
        threads = Threads(1, "test", gather=3)
        ready, begun, go, end = (threading.Event() for _ in range(4))
        woken: SimpleQueue[Callable[[], None]] = SimpleQueue()
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe = woken.put  # type: ignore[method-assign]

        def last() -> None:
            begun.set()
            go.wait(30)

        three = [threads.submit(lambda: ready.wait(30)), threads.submit(lambda: None), threads.submit(last)]
        behind = threads.submit(lambda: end.wait(30))
        ready.set()
        assert begun.wait(30)
        assert woken.empty(), "two have ended, and a third call was waiting"
        go.set()
        woken.get(timeout=30)()
        assert all(task.over for task in three)
        assert not behind.over
        end.set()
        woken.get(timeout=30)()
        assert behind.over, "nothing waited behind it"
        threads.close()

    asyncio.run(run())


def test_threads_end_at_close() -> None:
    threads = Threads(3, "ending")
    threads.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ending"):
            thread.join(30)
            assert not thread.is_alive()
