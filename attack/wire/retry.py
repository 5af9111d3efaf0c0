"""When to ask an endpoint again, and how long to wait before: one policy for the sync and the async client."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from model.errors import EndpointError, UnansweredError

BUSY: Final = frozenset({429, 503})
FAULTS: Final = frozenset({500, 502, 504})
"""Those by which a service, or the proxy before it, says that it failed: it may be over the very pictures."""
RETRIED: Final = BUSY | FAULTS | {408}
"""Status codes of troubles that pass. Asking for a label changes nothing there, so asking twice is harmless."""


@dataclass(frozen=True)
class RetryPolicy:
    """Full-jitter exponential backoff (Brooker 2015), and never less than the endpoint's Retry-After."""

    first_wait_s: float = 0.05
    """Upper end of the first random wait; it doubles with every attempt."""
    longest_wait_s: float = 10.0
    """Upper end of any random wait."""
    patience_s: float = 300.0
    """A request that has found no answer for so long is given up."""
    retry_errors: tuple[type[Exception], ...] = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
    """What else is asked again: time-outs, refused and reset connections, answers cut short."""

    def wait_s(self, attempt: int, response: httpx.Response | None) -> float:
        """Seconds before attempt number `attempt` + 1 (counted from 0).

        The backoff holds beside a Retry-After: an endpoint that says 0 for ever is not asked without a pause.
        """
        asked = retry_after_s(response) if response is not None else None
        ceiling = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt, 30))
        return max(asked or 0.0, random.uniform(0, ceiling))  # noqa: S311  (jitter, not a secret)


def retry_after_s(response: httpx.Response) -> float | None:
    """Retry-After in seconds (RFC 9110: a number, or a date), None where it is absent or unreadable."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
        return None if math.isnan(seconds) else max(0.0, seconds)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def trouble(response: httpx.Response | None, error: Exception | None) -> str:
    """What an attempt met, in a word or two."""
    return f"status {response.status_code}" if response is not None else type(error).__name__


class Attempts:
    """The attempts at one request: counts them, and says how long to wait or that patience is at its end."""

    def __init__(self, policy: RetryPolicy, url: str, note: Callable[[bool, float], None]) -> None:
        """`note` hears of every failure: whether the endpoint is busy, and the seconds that it asks for then."""
        self.policy, self.url, self.note = policy, url, note
        self.restart()

    def restart(self) -> None:
        """Patience begins anew: there was progress."""
        self.count = 0
        self.ends_at = time.monotonic() + self.policy.patience_s

    def after(self, response: httpx.Response | None, error: Exception | None = None) -> float:
        """Seconds to wait after this failure.

        Raises EndpointError once patience has run out, UnansweredError where what was sent may be why.
        """
        self.note(*self._asked_for(response))
        wait_s = self.policy.wait_s(self.count, response)
        self.count += 1
        if time.monotonic() + wait_s > self.ends_at:
            words = trouble(response, error)
            kind = UnansweredError if response is not None and response.status_code in FAULTS else EndpointError
            raise kind(f"{self.url}: {words} after {self.count} attempts in {self.policy.patience_s:g} s")
        return wait_s

    def _asked_for(self, response: httpx.Response | None) -> tuple[bool, float]:
        """Whether the endpoint is busy, and for how long: 0 where it does not say, or longer than patience lasts."""
        if response is None or response.status_code not in BUSY:
            return False, 0.0
        seconds = retry_after_s(response) or 0.0
        return True, seconds if seconds <= self.policy.patience_s else 0.0
