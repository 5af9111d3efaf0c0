"""Answers that come before the request is sent whole: a 413, say, whose sender reads no more and hangs up.

What is not read when a write fails is lost, and anyio reads nothing while it writes. So it is read beside the write.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

import httpcore
import httpx

from attack.wire.answers import MAX_ANSWER_BYTES

AT_ONCE_BYTES: Final = 2**16
"""So much the kernel takes at once, or as good as."""
READ_BYTES: Final = 2**16


def read_early(http: httpx.AsyncClient) -> None:
    """Let a client's connections, a proxy's too, read so.

    httpx has no public place for it: in one that keeps it elsewhere, such answers are lost and nothing else.
    """
    with suppress(AttributeError):
        for transport in (http._transport, *http._mounts.values()):
            if isinstance(transport, httpx.AsyncHTTPTransport):
                transport._pool._network_backend = _Backend()


class _Backend(httpcore.AnyIOBackend):
    async def connect_tcp(self, *address: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await super().connect_tcp(*address, **options))


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._early: deque[bytes] = deque()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._early.popleft() if self._early else await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if len(buffer) <= AT_ONCE_BYTES:
            await self._stream.write(buffer, timeout)
            return
        reading = asyncio.create_task(self._read_beside())
        try:
            for _ in range(2):  # it starts, and takes what is there
                await asyncio.sleep(0)
            await self._stream.write(buffer, timeout)
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read_beside(self) -> None:
        while sum(map(len, self._early)) < MAX_ANSWER_BYTES:
            try:
                self._early.append(await self._stream.read(READ_BYTES))
            except httpcore.ReadError:  # the next read meets it again
                return
            if not self._early[-1]:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(self, *context: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(*context, **options))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
