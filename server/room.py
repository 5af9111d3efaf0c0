"""Room for so much at once: who finds too little waits in line, the first come first. For one event loop."""

import asyncio
from collections import deque


class Room:
    """Room of a given size, from which requests take parts of different weights."""

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, weight: int) -> "asyncio.Future[None]":
        """Await this: it is done once `weight`, at most the whole size, has been taken. Cancel it to leave the line."""
        assert weight <= self.size
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((weight, turn))
        self._admit()
        return turn

    def give_back(self, weight: int) -> None:
        """Make room for the next ones."""
        self.free += weight
        self._admit()

    def _admit(self) -> None:
        while self._line and (self._line[0][1].cancelled() or self._line[0][0] <= self.free):
            weight, turn = self._line.popleft()
            if not turn.cancelled():
                self.free -= weight
                turn.set_result(None)
