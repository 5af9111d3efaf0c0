"""Tells a person when an endpoint stops answering, and when it is back: two lines, however many retries lie between."""

import time
from typing import Final

import httpx

from attack.wire.retry import trouble
from model.console import say

QUIET_S: Final = 10.0
"""Most troubles pass before nothing was answered for so long."""
NOBODY_S: Final = 1.0
"""Where nobody is there it is told sooner, but not of each connection that is refused in passing."""


class Outage:
    """What a person was told of one endpoint."""

    def __init__(self, url: str, patience_s: float) -> None:
        self.url, self.patience_s = url, patience_s
        self._told = False
        self._answered_at = 0.0

    def goes_on(self, since: float, response: httpx.Response | None, error: Exception | None) -> None:
        """An attempt at what was first sent at `since` (monotonic, in seconds) has failed."""
        nobody = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        quiet_s = time.monotonic() - max(since, self._answered_at)
        if not self._told and quiet_s >= (NOBODY_S if nobody else QUIET_S):
            self._told = True
            words = "no connection" if nobody else trouble(response, error)
            say(f"{self.url}: {words}, trying again for up to {self.patience_s:g} s")

    def over(self) -> None:
        """Something was answered."""
        if self._told:
            say(f"{self.url}: answers again")
        self._told, self._answered_at = False, time.monotonic()
