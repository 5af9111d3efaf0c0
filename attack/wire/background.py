"""An event loop in a thread of its own, for callers that have none; and threads for what would hold a loop up."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
LONG_BYTES: Final = 2**20
"""So much is copied, hashed or parsed within some milliseconds; another thread costs a tenth of one."""


async def aside(n_bytes: int, work: Callable[P, T], *given: P.args, **more: P.kwargs) -> T:
    """The result of `work`, done in another thread where it is about more than `LONG_BYTES`."""
    if n_bytes <= LONG_BYTES:
        return work(*given, **more)
    return await asyncio.to_thread(work, *given, **more)


class LoopThread:
    """Runs coroutines for any thread, until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: a client that nobody closed does not keep the process alive.
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        # The loop holds nothing of this object, so that a client which is dropped unclosed leaves no thread behind.
        self._stop = weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        self._closed = False
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. It is cancelled where the caller is interrupted.

        Raises CancelledError where `close` was first, and in a process that was forked: no thread comes along.
        """
        with self._lock:
            if self._closed or not self._thread.is_alive():
                work.close()
                raise CancelledError
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # of no effect unless an interrupt ended the wait

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Cancel what is under way, run `last`, end the thread."""
        with self._lock:
            if self._closed or not self._thread.is_alive():
                last.close()
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(last), self._loop).result()
        self._stop()
        self._thread.join()
        self._loop.close()

    async def _end(self, last: Coroutine[Any, Any, None]) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await last
        await self._loop.shutdown_asyncgens()
