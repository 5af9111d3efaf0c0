"""Threads for one event loop, which they wake seldom: `concurrent.futures` costs a small piece of work more than its
computing. While more calls wait, a few answers gather; those that come while the loop has not woken yet wake it once.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")


class Task(Generic[T]):
    """One call on its way through the threads: await `done`, or call it off."""

    __slots__ = ("_afterwards", "_ticket", "call", "done", "over")

    def __init__(self, call: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.done: asyncio.Future[T] = loop.create_future()
        self.over = False
        """Whether the event loop knows that the call has ended, or will never be made."""
        self._afterwards: list[Callable[[], None]] = []
        self._ticket = [True]

    def claim(self) -> bool:
        """Whether this is the first claim: of the thread that is to run the call, or of who calls it off."""
        try:
            return self._ticket.pop()  # one step, which no other thread can come between
        except IndexError:
            return False

    def call_off(self) -> None:
        """Have the call not made, unless a thread is at it. What it holds is let go at once, and not in its turn."""
        if self.claim():
            self.call = _called_off
            self.end()

    def when_over(self, callback: Callable[[], None]) -> None:
        """Have this called in the event loop when the call is over, also if `done` was cancelled by then."""
        if self.over:
            callback()
        else:
            self._afterwards.append(callback)

    def end(self) -> None:
        """The call is over."""
        self.over = True
        for callback in self._afterwards:
            callback()


def _called_off() -> Any:
    raise AssertionError("called off, and yet called")


class Threads:
    """So many threads, which end with the process or at `close`."""

    def __init__(self, count: int, name: str, gather: int = 1) -> None:
        """Up to `gather` answers wait for each other as long as no thread is idle: for calls that take no time."""
        self._tasks: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._ended: deque[tuple[Task[Any], Any, BaseException | None]] = deque()
        self._loop: asyncio.AbstractEventLoop
        self._waking = False
        self._count: Final = count
        self._gather: Final = gather
        for number in range(count):
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True).start()

    def submit(self, call: Callable[[], T]) -> Task[T]:
        """Have a thread make this call. From the event loop alone, and from one only."""
        self._loop = asyncio.get_running_loop()
        task = Task(call, self._loop)
        self._tasks.put(task)
        return task

    def close(self) -> None:
        """Let the threads go once they have done what was submitted."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            if not task.claim():
                continue
            try:
                self._ended.append((task, task.call(), None))
            except BaseException as error:  # noqa: BLE001  (whoever awaits it gets it)
                self._ended.append((task, None, error))
            if len(self._ended) >= self._gather:
                self._wake()
        self._wake()

    def _next(self) -> Task[Any] | None:
        try:
            return self._tasks.get_nowait()
        except Empty:
            self._wake()
            return self._tasks.get()

    def _wake(self) -> None:
        if self._ended and not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._waking = False  # before the first look: what ends from now on wakes the loop anew
        while self._ended:
            task, outcome, error = self._ended.popleft()
            task.end()
            if task.done.done():
                continue
            if error is None:
                task.done.set_result(outcome)
            else:
                task.done.set_exception(error)
