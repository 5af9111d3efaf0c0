"""A call in the future, which can be put off and taken back."""

import asyncio
from collections.abc import Callable


class Timer:
    """Makes one call at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        self._loop, self._call = loop, call
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether it was set, and not stopped since; also if the call was made meanwhile."""
        return self._handle is not None

    def set(self, delay_s: float) -> None:
        """Make the call after `delay_s`, and not when it was to be made before."""
        self.stop()
        self._handle = self._loop.call_later(delay_s, self._call)

    def stop(self) -> None:
        """Do not make it."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
