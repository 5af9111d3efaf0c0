"""uvicorn's HTTP/1.1 protocol with bounds: time and bytes for the head of a request, and the number of connections."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from server.problems import HeadTooLarge, Malformed, Problem, SlowHead, Unavailable, new_request_id
from server.settings import Settings

MAX_HEAD_BYTES: Final = 32 * 2**10
LAST_WORDS_S: Final = 2.0
"""At the end of the service a client has so long to finish sending its request, or to read its answer."""


def bounded_protocol(settings: Settings, on_refusal: Callable[[Problem, str], None]) -> type[HttpToolsProtocol]:
    """The protocol class with the bounds of these settings; `on_refusal` hears what is refused here, and its id."""

    class Bounded(BoundedProtocol):
        header_timeout_s = settings.header_timeout_s
        max_connections = settings.max_connections
        linger_s = unread_s = settings.body_timeout_s
        refused = staticmethod(on_refusal)

    return Bounded


class Together:
    """A transport whose writes of one turn of the event loop go out as one: the head of an answer with its body."""

    __slots__ = ("_loop", "_on_close", "_parts", "_transport")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, on_close: Callable[[], None]
    ) -> None:
        self._transport, self._loop, self._on_close = transport, loop, on_close
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Take bytes; they leave in this turn."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self._flush()
        self._transport.close()
        self._on_close()

    def _flush(self) -> None:
        if self._parts:
            data, self._parts = b"".join(self._parts), []
            if not self._transport.is_closing():
                self._transport.write(data)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    header_timeout_s: float
    max_connections: int
    refused: Callable[[Problem, str], None]
    linger_s: float
    """After an answer given before the body had come, the rest may come for so long and is thrown away. A connection
    closed at once would be reset, and the client might never see the answer."""
    unread_s: float
    """A client that leaves its answers unread for so long is cut off: they would hold the connection for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connects: it may be one too many, and must send a whole head in time."""
        super().connection_made(transport)
        self.transport = Together(transport, self.loop, self._expect_reader)  # type: ignore[assignment]
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._last_words: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._heads = 0
        self._in_head = False
        self._start_head()
        if len(self.connections) > self.max_connections:
            self._refuse(Unavailable("Too many connections.", retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end_head()
        self._end_linger()
        if self._last_words is not None:
            self._last_words.cancel()
        super().connection_lost(exc)
        self._end_unread()  # last, for the line above closes the transport

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the head has become too long."""
        begun = self._heads
        super().data_received(data)
        if self._head_timer is not None and self._heads == begun:  # else the data may hold more than this head
            self._head_bytes += len(data)
            self._expect_head(self._head_bytes)
        self._expect_something()

    def shutdown(self) -> None:
        """The service ends: whole requests are still answered, but nobody is waited for beyond `LAST_WORDS_S`."""
        self.unread_s = min(self.unread_s, LAST_WORDS_S)
        if self._unread is not None:
            self._end_unread()
            self._expect_reader()
        super().shutdown()
        self._await_last_words()

    def pause_writing(self) -> None:
        """The client does not read its answers: it must go on in time."""
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._end_unread()

    def eof_received(self) -> None:
        """The client will send no more; in the midst of a request it is told so, for it may still read."""
        if self._in_head or (self.cycle is not None and self.cycle.more_body and not self.cycle.response_started):
            self._refuse(Malformed("The request was cut short."))

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._heads += 1
        self._in_head = True
        self._start_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._end_head()
        self._expect_head(len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers))
        if self.parser.should_upgrade() and self.parser.get_method() == b"POST":  # after which no body would be parsed
            self._refuse(Malformed("HTTP/1.1 alone is spoken here: send pictures without Upgrade."))
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole; if it was answered already, the connection may serve on."""
        super().on_message_complete()
        if self._linger is not None:
            self._end_linger()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Keep the connection; where the rest of the body is still to come, it must come in time."""
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._linger = self.loop.call_later(self.linger_s, self.transport.close)
        if self._last_words is not None:  # a request behind this one may be cut short as well
            self._await_last_words()

    def send_400_response(self, msg: str) -> None:
        """The bytes are no HTTP."""
        self._refuse(Malformed(msg))

    def _start_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.header_timeout_s, self._head_too_late)

    def _expect_something(self) -> None:
        """No connection without a request in hand goes untimed: empty lines, too, end uvicorn's wait for the next."""
        timed = self._linger is not None or self.timeout_keep_alive_task is not None
        in_hand = self.cycle is not None and not self.cycle.response_complete
        if not (timed or in_hand or self.transport.is_closing()):
            self._start_head()

    def _expect_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self.unread_s, self.transport.abort)

    def _await_last_words(self) -> None:
        if self._last_words is not None:
            self._last_words.cancel()
        self._last_words = self.loop.call_later(LAST_WORDS_S, self._refuse_unfinished)

    def _refuse_unfinished(self) -> None:
        """Refuse a request whose body is still to come, unless another one before it has yet to be answered."""
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline:
            self._refuse(Unavailable("The service is shutting down.", retry_after_s=5))

    def _end_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _expect_head(self, count: int) -> None:
        if count > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"The head of a request may have {MAX_HEAD_BYTES} bytes."))

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_linger(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _head_too_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(SlowHead(f"No whole request came in {self.header_timeout_s:g} seconds."))

    @property
    def _answering(self) -> bool:
        """Whether a request is whole and its answer under way, into which nothing may be written."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        self._end_head()
        request_id = new_request_id()
        self.refused(problem, request_id)
        body = problem.body(request_id)
        headers: list[tuple[Any, Any]] = [
            *problem.headers(),
            (b"x-request-id", request_id.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        if not self._answering:
            self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + body)
        self.transport.close()
