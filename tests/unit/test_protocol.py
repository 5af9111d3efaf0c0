"""The protocol with bytes put in by hand: what it keeps of them, and when it reads no more, which no client sees."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.head import LINE_BYTES, MAX_HEAD_BYTES
from server.pace import BYTES_PER_S, GRACE_S, Pace
from server.pipelined import MAX_WAITING, REQUEST_BYTES
from server.protocol import BoundedProtocol
from server.run import bounded_protocol
from server.settings import Settings

pytestmark = pytest.mark.unit
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Transport(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = self.paused = False
        self.written = b""

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def is_reading(self) -> bool:
        return not self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data

    def write_eof(self) -> None:
        pass


class Server:
    """Connections to an application that reads each body, or none, and answers it when `answer` is set."""

    def __init__(self, **settings: Any) -> None:
        self.refused: list[str] = []
        self.answer = asyncio.Event()
        self.reads = True
        self.headers: list[tuple[bytes, bytes]] = []
        self._protocol = bounded_protocol(Settings(**settings), lambda problem, _: self.refused.append(problem.slug))
        self._config = uvicorn.Config(self._app, interface="asgi3", log_config=None, ws="none")
        self._state = ServerState()

    @property
    def waiting_bytes(self) -> int:
        return self._protocol.waiting_budget.held

    def connect(self) -> tuple[BoundedProtocol, Transport]:
        protocol, transport = self._protocol(self._config, self._state, {}), Transport()
        protocol.connection_made(transport)
        return protocol, transport

    async def _app(self, _scope: object, receive: Any, send: Any) -> None:
        while self.reads and (await receive()).get("more_body", False):
            pass
        gone = asyncio.create_task(receive()) if self.reads else None  # as the service watches for a hang-up
        await self.answer.wait()
        if gone is not None:
            gone.cancel()
        await send({"type": "http.response.start", "status": 204, "headers": self.headers})
        await send({"type": "http.response.body"})


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10 * MAX_WAITING):
        await asyncio.sleep(0)


async def refused_unread(request: bytes) -> tuple[BoundedProtocol, Transport]:
    """A connection whose request, or the beginning of one, got its answer before the application read a body."""
    server = Server()
    server.reads = False
    server.answer.set()
    protocol, transport = server.connect()
    protocol.data_received(request)
    await settle()
    assert transport.written.startswith(b"HTTP/1.1 204 ")
    return protocol, transport


Check = Callable[[], Coroutine[Any, Any, None]]


def in_loop(check: Check) -> Callable[[], None]:
    def test() -> None:
        asyncio.run(check())

    test.__name__ = check.__name__
    return test


@in_loop
async def test_of_a_long_head_in_one_read_only_the_first_lines_are_kept() -> None:
    server = Server()
    protocol, _ = server.connect()
    protocol.data_received(b"GET / HTTP/1.1\r\n" + b"ab:cd\r\n" * 30_000)
    assert server.refused == ["head-too-large"]
    assert len(protocol.headers) <= MAX_HEAD_BYTES / LINE_BYTES


@in_loop
async def test_no_more_is_read_while_much_waits() -> None:
    server = Server()
    protocol, transport = server.connect()
    protocol.data_received(GET + POST % 200_000 + bytes(100_000))
    await settle()
    assert not transport.is_reading()
    server.answer.set()
    await settle()
    assert transport.is_reading()
    protocol.data_received(bytes(100_000) + GET)
    await settle()
    assert transport.written.count(b"HTTP/1.1 204 ") == 3
    assert (server.waiting_bytes, server.refused) == (0, [])


@in_loop
async def test_a_body_that_is_refused_unread_is_not_kept() -> None:
    protocol, _ = await refused_unread(POST % 60_000 + bytes(60_000))
    assert not protocol.cycle.body


@in_loop
async def test_what_is_no_http_is_told_so_behind_a_body_that_was_refused_unread() -> None:
    protocol, transport = await refused_unread(POST % 10 + bytes(5))
    protocol.data_received(bytes(5) + b"no HTTP\r\n\r\n")
    await settle()
    assert b"HTTP/1.1 400 " in transport.written


@in_loop
async def test_what_waits_on_all_connections_is_bounded() -> None:
    server = Server(max_buffered_bytes=1_000_000)
    connections = [server.connect() for _ in range(12)]
    for protocol, _ in connections:
        protocol.data_received(GET + POST % 200_000)
        protocol.data_received(bytes(150_000))
        protocol.data_received(bytes(150_000))  # the end of it, and no request
    kept = [cycle.body for protocol, _ in connections for cycle, _ in protocol.pipeline]
    assert 800_000 <= sum(map(len, kept)) <= server.waiting_bytes <= 1_000_000
    assert server.refused.count("unavailable") == 12 - len(kept)
    single, transport = server.connect()
    single.data_received(POST % 100_000 + bytes(100_000))  # who does not pipeline is served
    server.answer.set()
    await settle()
    assert transport.written.startswith(b"HTTP/1.1 204 ")
    assert b" 503 " in connections[-1][1].written
    assert server.waiting_bytes == 0


@in_loop
async def test_heads_that_wait_are_bounded() -> None:
    server = Server(max_buffered_bytes=1_000_000)
    for _ in range(3):
        server.connect()[0].data_received(GET * 100 + (GET[:-2] + b"ab:cd\r\n" * 100 + b"\r\n") * 100)
    assert server.refused == ["unavailable"] * 3
    assert 1_000_000 - REQUEST_BYTES - MAX_HEAD_BYTES < server.waiting_bytes <= 1_000_000


@pytest.mark.parametrize("end", ["hang up", "answer and close"])
def test_what_waits_is_forgotten_with_its_connection(end: str) -> None:
    async def check() -> None:
        server = Server()
        protocol, transport = server.connect()
        protocol.data_received(GET + GET + POST % 100_000 + bytes(1000))
        assert server.waiting_bytes > 2 * REQUEST_BYTES
        if end == "hang up":
            protocol.connection_lost(None)
        else:
            server.headers.append((b"connection", b"close"))
        server.answer.set()
        await settle()
        assert server.waiting_bytes == 0
        assert not protocol.pipeline
        assert transport.written.count(b"HTTP/1.1 ") == (0 if end == "hang up" else 1)

    asyncio.run(check())


def test_a_body_is_slow_that_stays_behind_its_pace() -> None:
    clock = Mock()
    clock.time.return_value = 0.0
    pace = Pace(clock)
    pace.begin(100)
    for now, come, slow in ((GRACE_S, 0, False), (GRACE_S + 1, 0, True), (GRACE_S + 1, BYTES_PER_S, False)):
        clock.time.return_value = now
        pace.come(come)
        assert pace.is_slow == slow
