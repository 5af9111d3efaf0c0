"""A connection as the protocol writes to it: few system calls, and an end in two steps."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from server.problems import Problem


class Together:
    """A transport whose writes of one turn of the event loop go out as one: the head of an answer with its body.

    Closed by `close`, it takes no more answers, and `on_close` sees to its end.
    """

    __slots__ = ("_closing", "_loop", "_on_close", "_parts", "_transport")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, on_close: Callable[[], None]
    ) -> None:
        self._transport, self._loop, self._on_close = transport, loop, on_close
        self._parts: list[bytes] = []
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Take bytes; they leave in this turn."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def is_closing(self) -> bool:
        """Whether no more answers are taken."""
        return self._closing or self._transport.is_closing()

    def is_hung_up(self) -> bool:
        """Whether the connection is closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Take no more answers."""
        if not self._closing:
            self._closing = True
            self._on_close()

    def send_end(self) -> None:
        """Have the client read the end of the answers; it may go on sending."""
        self._flush()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def hang_up(self) -> None:
        """Close the connection once everything is sent."""
        self._closing = True
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            data, self._parts = b"".join(self._parts), []
            if not self._transport.is_closing():
                self._transport.write(data)


def last_answer(problem: Problem, request_id: str) -> bytes:
    """The bytes of a problem as the last answer on a connection."""
    body = problem.body(request_id)
    headers = [
        *problem.headers(),
        (b"x-request-id", request_id.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[problem.status] + head + b"\r\n" + body
