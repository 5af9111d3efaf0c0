"""How fast the body of a request comes."""

import asyncio
from typing import Final

BYTES_PER_S: Final = 4096
"""A body that comes slower holds no place that others want."""
GRACE_S: Final = 2.0
"""It is not expected to come for so long."""


class Pace:
    """Of the body that is read on one connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began = loop.time()
        self._bytes = 0

    def begin(self, count: int) -> None:
        """Another body is read, of which so many bytes are there."""
        self._began, self._bytes = self._loop.time(), count

    def come(self, count: int) -> None:
        """So many bytes more have come."""
        self._bytes += count

    @property
    def is_slow(self) -> bool:
        """Whether there should be more by now."""
        return self._bytes < (self._loop.time() - self._began - GRACE_S) * BYTES_PER_S
