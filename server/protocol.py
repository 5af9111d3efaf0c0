"""uvicorn's HTTP/1.1 protocol with bounds: time and bytes for the head of a request, and the number of connections."""

import asyncio
from collections.abc import Callable
from typing import Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.budget import ByteBudget
from server.head import MAX_HEAD_BYTES, Head
from server.pace import Pace
from server.pipelined import Flow, Pipelined
from server.problems import Malformed, Problem, SlowHead, Unavailable, new_request_id
from server.settings import Settings
from server.timer import Timer
from server.transport import Together, last_answer

LAST_WORDS_S: Final = 2.0
"""At the end of the service a client has so long to finish sending its request, to read its answer or to hang up."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    settings: Settings
    refused: Callable[[Problem, str], None]
    patience_s: float
    """So long a client may leave its answers unread, or send the rest of what was answered before everything had come,
    which is thrown away: a connection closed at once would be reset, and the client might never see the answer."""
    waiting_budget: ByteBudget
    """What the pipelined requests of all connections may hold together."""
    transport: Together  # type: ignore[assignment]
    connections: set["BoundedProtocol"]  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connects: it may be one too many, and must send a whole head in time."""
        super().connection_made(transport)
        self.transport = Together(transport, self.loop, self._end)
        self._waiting = Pipelined(self.waiting_budget, self.pipeline)
        self.flow = Flow(transport, self._waiting)
        self._in_service: RequestResponseCycle | None = None
        """The request that the application has; `cycle` is the one that came last, and `pipeline` has those between."""
        self._refusal: bytes | None = None
        """The last answer, to what is no whole request; it waits for the answers to the requests before it."""
        self._head_timer = Timer(self.loop, self._head_too_late)
        self._linger = Timer(self.loop, self.transport.hang_up)
        self._unread = Timer(self.loop, self.transport.abort)
        self._last_words = Timer(self.loop, self._refuse_unfinished)
        self._head, self._in_head, self._pace = Head(), False, Pace(self.loop)
        self._waits_since = self.loop.time()
        self._start_head()
        if len(self.connections) > self.settings.max_connections:
            self._find_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and with it who asked what the application has."""
        self.transport.hang_up()
        for timer in (self._head_timer, self._linger, self._unread, self._last_words):
            timer.stop()
        if self._in_service is not None and not self._in_service.response_complete:
            self._drop(self._in_service)
        self._waiting.all_out()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, in pieces: a head that is too long is refused before all of it is in memory as objects."""
        for start in range(0, len(data), MAX_HEAD_BYTES):
            if not self._deaf:
                self._parse(data[start : start + MAX_HEAD_BYTES])

    def shutdown(self) -> None:
        """The service ends: whole requests are still answered, but nobody is waited for beyond `LAST_WORDS_S`."""
        self.patience_s = min(self.patience_s, LAST_WORDS_S)
        for timer in (self._unread, self._linger):
            if timer.is_set:
                timer.set(self.patience_s)
        super().shutdown()
        self._last_words.set(LAST_WORDS_S)

    def pause_writing(self) -> None:
        """The client does not read its answers: it must go on in time."""
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread.stop()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send no more; in the midst of a request it is told so. True: after the answers before it."""
        if self._in_head or (self.cycle is not None and self.cycle.more_body and not self.cycle.response_started):
            self._refuse(Malformed("The request was cut short."))
        return self._refusal is not None and not self.transport.is_closing()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._deaf:
            return
        super().on_message_begin()
        self._head.begin()
        self._in_head = True
        self._start_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or one of the trailer behind a body in chunks, which is passed over."""
        self._count(self._head.tell_line, len(name) + len(value))
        if self._in_head and not self._deaf:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._deaf:
            return
        self._end_head()
        self._count(self._head.tell, len(self.url))
        if self.parser.should_upgrade() and self.parser.get_method() == b"POST":  # after which no body would be parsed
            self._refuse(Malformed("HTTP/1.1 alone is spoken here: send pictures without Upgrade."))
        if not (self._deaf or self.cycle is None or self.cycle.response_complete):
            self._count(self._waiting.add, self._head.bytes)
        if not self._deaf:
            super().on_headers_complete()
            self.cycle.keep_alive &= not self.parser.should_upgrade()  # nothing behind it would be parsed
            if self._waiting:
                self.flow.resume_reading()  # uvicorn reads no further once one waits, and would not see a hang-up

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._deaf:
            return
        self._head.tell()
        self._pace.come(len(body))
        if self._waiting:
            self._count(self._waiting.grow, len(body))
        if not self._deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole; if it was answered already, the connection may serve on."""
        if self._deaf:
            return
        super().on_message_complete()
        self.cycle.more_body = False  # which uvicorn leaves as it was where the answer came first
        if self._linger.is_set:
            self._linger.stop()
            idle, handler = self.timeout_keep_alive, self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(idle, handler)

    def on_response_complete(self) -> None:
        """Keep the connection; where the rest of the body is still to come, it must come in time."""
        if self._in_service is not None:
            self._in_service.body.clear()  # a refusal may come before anything was read
        super().on_response_complete()
        if not (self._answering or self.transport.is_closing()):
            self._all_answered()
        if self._last_words.is_set:  # a request behind this one may be cut short as well
            self._last_words.set(LAST_WORDS_S)

    def send_400_response(self, msg: str) -> None:
        """The bytes are no HTTP."""
        self._refuse(Malformed(msg))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._in_service = cycle
        self._pace.begin(len(cycle.body))
        if self._waiting:
            self._waiting.first_out()
        super()._start_asgi_task(cycle, app)

    def _all_answered(self) -> None:
        if self._refusal is not None:
            self._send_refusal()
        elif self.cycle.more_body:
            self._unset_keepalive_if_required()
            self._linger.set(self.patience_s)
        self._waits_since = self.loop.time()

    def _count(self, count: Callable[[int], None], size: int) -> None:
        """Count what came, and refuse what is too much."""
        try:
            count(size)
        except Problem as problem:
            self._refuse(problem)

    def _find_room(self) -> None:
        """End the connections that have waited longest for a request, then those whose body drips, or refuse this."""
        here = [one for one in self.connections if not one.transport.is_hung_up()]
        waiting = [one for one in here if one is not self and (one._drips or not one._answering)]
        too_many = len(here) - self.settings.max_connections
        for one in sorted(waiting, key=lambda one: (one._answering, one._waits_since))[: max(0, too_many)]:
            one._give_way()
        if too_many > len(waiting):
            self._refuse(Unavailable("Too many connections.", retry_after_s=1))

    def _give_way(self) -> None:
        """End at once, without waiting for the client; one that has sent a part of a request, or nothing, is told."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        if self._head_timer.is_set or self._answering:
            self._refuse(Unavailable("Too many connections, and this one has waited longest.", retry_after_s=1))
        self.transport.close()
        self.transport.hang_up()

    def _end(self) -> None:
        """Nothing more is answered; what the client is still sending is waited for."""
        self._end_head()
        self._waiting.all_out()
        self._expect_reader()
        if self._refusal is not None or (self.cycle is not None and self.cycle.more_body):
            self.transport.send_end()
            if not self.transport.is_hung_up():
                self.flow.resume_reading()  # a long body had it paused
            self._linger.set(self.patience_s)
        else:
            self.transport.hang_up()

    def _parse(self, data: bytes) -> None:
        self._count(self._head.come, len(data))
        if not self._deaf:
            super().data_received(data)
        self._expect_something()

    def _start_head(self) -> None:
        if not self._head_timer.is_set:
            self._head_timer.set(self.settings.header_timeout_s)

    def _expect_something(self) -> None:
        """No connection without a request in hand goes untimed: empty lines, too, end uvicorn's wait for the next."""
        timed = self._linger.is_set or self.timeout_keep_alive_task is not None
        in_hand = self.cycle is not None and not self.cycle.response_complete
        if not (timed or in_hand or self.transport.is_closing()):
            self._start_head()

    def _expect_reader(self) -> None:
        if not self._unread.is_set:
            self._unread.set(self.patience_s)

    def _refuse_unfinished(self) -> None:
        """Refuse a request whose body is still to come, unless another one before it has yet to be answered."""
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline:
            self._refuse(Unavailable("The service is shutting down.", retry_after_s=5))

    def _end_head(self) -> None:
        self._in_head = False
        self._head_timer.stop()

    def _head_too_late(self) -> None:
        self._refuse(SlowHead(f"No whole request came in {self.settings.header_timeout_s:g} seconds."))

    @property
    def _deaf(self) -> bool:
        """Whether nothing that comes is heard any more."""
        return self._refusal is not None or self.transport.is_closing()

    @property
    def _answering(self) -> bool:
        """Whether the application has a request, behind which here may wait."""
        cycle = self._in_service
        return cycle is not None and not (cycle.response_complete or cycle.disconnected)

    @property
    def _drips(self) -> bool:
        return self._in_service is self.cycle and self.cycle is not None and self.cycle.more_body and self._pace.is_slow

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no whole request without the application, after those before it, and close."""
        if self._deaf:
            return
        self._end_head()
        self.refused(problem, request_id := new_request_id())
        self._refusal = b"" if self._cut_off() else last_answer(problem, request_id)
        if not self._answering:
            self._send_refusal()

    def _cut_off(self) -> bool:
        """Take a request whose body has not come away from the application; True if it has its answer already."""
        cycle = self.cycle
        if cycle is None or not cycle.more_body:
            return False
        if self.pipeline:
            self.pipeline.popleft()  # the one that came last
        elif cycle.response_started:
            return True
        else:
            self._drop(cycle)
        return False

    def _drop(self, cycle: RequestResponseCycle) -> None:
        cycle.disconnected = True
        cycle.message_event.set()

    def _send_refusal(self) -> None:
        self._unset_keepalive_if_required()
        self.transport.write(self._refusal or b"")
        self.transport.close()
