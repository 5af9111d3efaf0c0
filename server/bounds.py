"""The end of a request's work that its client leaves, or whose time is over."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive

from server.bodies import ClientGone
from server.decode_pool import Work
from server.problems import Unavailable


class Bounds:
    """As long as the `with` lasts, the work ends by itself after `timeout_s` or when `receive` tells of a hang-up."""

    def __init__(self, work: Work, receive: Receive, timeout_s: float, retry_after_s: Callable[[], int]) -> None:
        self._work, self._receive, self._timeout_s, self._retry_after_s = work, receive, timeout_s, retry_after_s

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout_s, self._too_late)
        self._watcher = loop.create_task(self._until_gone())

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._watcher.cancel()

    def _too_late(self) -> None:
        self._work.end(Unavailable("The time for this request is over.", retry_after_s=self._retry_after_s()))

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._work.end(ClientGone())
