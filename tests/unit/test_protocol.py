"""The protocol with bytes put in by hand: what it keeps of them, which no client sees."""

import asyncio
from collections.abc import Callable
from unittest.mock import Mock

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.protocol import LINE_BYTES, MAX_HEAD_BYTES, BoundedProtocol, bounded_protocol
from server.settings import Settings

pytestmark = pytest.mark.unit


class Connection:
    """A protocol whose application never answers, and what it refused."""

    def __init__(self, **settings: object) -> None:
        self.refused: list[str] = []
        self._kind = bounded_protocol(Settings(**settings), lambda problem, _: self.refused.append(problem.slug))
        self._config = uvicorn.Config(_no_answer, log_config=None, ws="none")
        self._state = ServerState()

    def open(self) -> BoundedProtocol:
        protocol = self._kind(self._config, self._state, {}, asyncio.get_running_loop())
        transport = Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})
        protocol.connection_made(transport)
        return protocol


async def _no_answer(_scope: object, _receive: object, _send: object) -> None:
    await asyncio.sleep(60)


def run(check: Callable[[], None]) -> None:
    """In an event loop, which ends what the check began."""

    async def within() -> None:
        check()

    asyncio.run(within())


def test_of_a_long_head_in_one_read_only_the_first_lines_are_kept() -> None:
    def check() -> None:
        connection = Connection()
        protocol = connection.open()
        protocol.data_received(b"GET / HTTP/1.1\r\n" + b"ab:cd\r\n" * 30_000)
        assert connection.refused == ["head-too-large"]
        assert len(protocol.headers) <= MAX_HEAD_BYTES / LINE_BYTES

    run(check)
