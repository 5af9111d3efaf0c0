"""The pipelined requests of a connection that wait behind the one in service: what they hold, and its bounds."""

import asyncio
from collections import deque
from typing import Any, Final

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

from server.budget import ByteBudget
from server.problems import Unavailable

MAX_WAITING: Final = 256
"""Requests that wait on a connection: 18 bytes make one."""
REQUEST_BYTES: Final = 4096
"""What one takes in memory beside its head and body."""


class Pipelined:
    """What waits on one connection. Whoever waits counts against a budget of their own kind, which all connections
    share: those who do not pipeline are not refused for it. `pipeline` is uvicorn's, which has the requests."""

    def __init__(self, budget: ByteBudget, pipeline: deque[Any]) -> None:
        self._budget, self._pipeline = budget, pipeline
        self._sizes: deque[int] = deque()
        self.held = 0
        """Bytes of all that wait here."""

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, head_bytes: int) -> None:
        """One more waits, with a head of this size and no body yet. Raises Unavailable."""
        if len(self) >= MAX_WAITING:
            raise Unavailable(f"More than {MAX_WAITING} requests wait on this connection.", retry_after_s=1)
        self._take(REQUEST_BYTES + head_bytes)
        self._sizes.append(REQUEST_BYTES + head_bytes)

    def grow(self, count: int) -> None:
        """The last one has so many bytes more. Raises Unavailable."""
        self._take(count)
        self._sizes[-1] += count

    def first_out(self) -> None:
        """The first one is served."""
        self._give_back(self._sizes.popleft())

    def all_out(self) -> None:
        """None will be served: they are let go."""
        self._pipeline.clear()
        self._sizes.clear()
        self._give_back(self.held)

    def _take(self, count: int) -> None:
        self._budget.take(count)
        self.held += count

    def _give_back(self, count: int) -> None:
        self._budget.give_back(count)
        self.held -= count


class Flow(FlowControl):
    """uvicorn's flow of a connection, which it takes up again at many places: not while much waits already."""

    def __init__(self, transport: asyncio.Transport, waiting: Pipelined) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless those who wait hold enough."""
        if self._waiting.held <= HIGH_WATER_LIMIT:
            super().resume_reading()
