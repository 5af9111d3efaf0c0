"""Connections to one endpoint: requests that are asked again until they are answered. Both clients stand on this."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Final, Self, TypedDict

import httpx

from attack.wire.answers import PACKED_HEADERS, whole
from attack.wire.early import read_early
from attack.wire.keys import key_headers
from attack.wire.outage import Outage
from attack.wire.pace import Pace
from attack.wire.retry import RETRIED, Attempts, RetryPolicy
from model.errors import ConfigError, EndpointError

SLOWEST_BYTES_PER_S: Final = 2**16
"""What is sent has a second more for so many bytes: a batch over a slow link takes longer than any answer may."""
PROXIES: Final = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY"
CERTIFICATES: Final = "SSL_CERT_FILE or SSL_CERT_DIR"


class Options(TypedDict, total=False):
    """What every client takes by keyword; `docs/client.md` has the defaults."""

    timeout_s: float
    """Longest time of one attempt in all, from connecting to the last byte of the answer; more for what is sent."""
    retry: RetryPolicy | None
    """When to ask again."""
    max_slots: int
    """Connections, and requests under way at once."""
    headers: Mapping[str, str] | None
    """Sent with every request; without them the environment's API key is."""
    transport: httpx.AsyncBaseTransport | None
    """For tests, and to go by no proxy."""


class AsyncConnection:
    """At most `max_slots` requests at once go through the retry policy, and the pace is kept. Of one event loop."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        max_slots: int = 8,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = checked_url(url)
        self.retry = retry or RetryPolicy()
        self.pace = Pace(max_slots=max_slots)
        self.outage = Outage(self.url, self.retry.patience_s)
        headers = PACKED_HEADERS | dict(key_headers() if headers is None else headers)
        limits = httpx.Limits(max_connections=max_slots, max_keepalive_connections=max_slots)
        self.timeout_s = timeout_s
        timeout = httpx.Timeout(None, connect=timeout_s / 3)  # an attempt's writes and reads are bounded together
        with environment_named():
            self.http = httpx.AsyncClient(
                timeout=timeout, headers=headers, limits=limits, transport=transport, cookies=no_cookies()
            )
        read_early(self.http)
        self._slots = asyncio.Semaphore(max_slots)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def send(self, request: httpx.Request, timeout_s: float | None = None) -> httpx.Response:
        """The first answer that is no passing trouble. Raises EndpointError when patience runs out.

        timeout_s: of each attempt at this request, in place of the connection's.
        """
        async with self._slots:  # until it is answered: in a queue of others patience would run out
            return await self._answer(request, self.timeout_s if timeout_s is None else timeout_s)

    async def _answer(self, request: httpx.Request, timeout_s: float) -> httpx.Response:
        attempts = Attempts(self.retry, str(request.url), self.pace.failed)
        since = time.monotonic()
        await self._pause(attempts)
        while not self.http.is_closed:
            response, trouble = await self._outcome(request, timeout_s)
            if response is not None and response.status_code not in RETRIED:
                self.pace.succeeded()
                self.outage.over()
                return response
            wait_s = attempts.after(response, trouble)
            self.outage.goes_on(since, response, trouble)
            await asyncio.sleep(wait_s)
            await self._pause(attempts)
        raise EndpointError(f"{self.url}: the client was closed")

    async def _pause(self, attempts: Attempts) -> None:
        """Wait as long as the endpoint asked for when it was too busy for any request; it costs no patience."""
        while pause_s := self.pace.pause_s:
            attempts.ends_at += pause_s
            await asyncio.sleep(pause_s)

    async def _outcome(
        self, request: httpx.Request, timeout_s: float
    ) -> tuple[httpx.Response | None, Exception | None]:
        """An answer, or a trouble that may pass. Raises EndpointError for any other."""
        try:
            return await self.attempt(request, timeout_s), None
        except self.retry.retry_errors as error:
            return None, error
        except httpx.HTTPError as error:
            raise EndpointError(f"{request.url}: {str(error) or type(error).__name__}") from error

    async def attempt(self, request: httpx.Request, timeout_s: float) -> httpx.Response:
        """One attempt. httpx would bound each read; this bounds all together, or a byte at a time would never end.

        Raises httpx's errors, and EndpointError for an answer that is too large.
        """
        upload_s = int(request.headers.get("Content-Length", 0)) / SLOWEST_BYTES_PER_S
        try:
            async with (
                asyncio.timeout(timeout_s + upload_s),
                aclosing(await self.http.send(request, stream=True)) as response,
            ):
                return await whole(response)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the answer takes too long", request=request) from error


@contextmanager
def environment_named() -> Iterator[None]:
    """What httpx finds in the environment and cannot use is a ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{CERTIFICATES} in the environment: {error.strerror}; mend or unset it") from error
    except (httpx.InvalidURL, ValueError, ImportError) as error:  # the last of SOCKS, which takes a package more
        words = str(error).partition(". ")[0]
        raise ConfigError(f"{PROXIES} in the environment: {words}; mend or unset it") from error


def straight_transport() -> httpx.AsyncHTTPTransport:
    """By none of the environment's proxies."""
    with environment_named():
        return httpx.AsyncHTTPTransport()


def checked_url(url: str) -> str:
    """The URL without a trailing slash. Raises ConfigError unless it is http(s) with a host, and without a password."""
    shown = url.rpartition("@")[2]  # what stands before it may be a password
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx.InvalidURL, UnicodeError) as error:  # the latter of what is no international name, and no UTF-8
        raise ConfigError(f"{shown!r} is no URL; give http://HOST:PORT") from error
    if parsed.scheme not in ("http", "https") or not host or (port is not None and not 0 < port < 2**16):
        raise ConfigError(f"{shown!r} is no endpoint; give http://HOST:PORT")
    if parsed.userinfo:
        raise ConfigError(
            f"the URL of {parsed.host} holds a user or password, which reports would show; give TRADES_BOB_API_KEY, "
            "or headers in the endpoint's .toml"
        )
    return url.rstrip("/")


def base_url(url: str) -> str:
    """As `checked_url`, of an endpoint behind whose address paths are put. A query or fragment is a ConfigError."""
    checked = checked_url(url)
    if "?" in checked or "#" in checked:
        raise ConfigError(f"{checked!r} has a query or a fragment; give http://HOST:PORT")
    return checked


def no_cookies() -> CookieJar:
    """A jar that takes none: sent back, they would tell the endpoint which requests are of one client."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))
