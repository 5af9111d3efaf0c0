"""The HTTP client of the checks: whatever an endpoint answers, no request is endless, in time or in bytes."""

from collections.abc import AsyncIterator, Iterable, Mapping

import httpx

from attack.wire.answers import PACKED_HEADERS
from attack.wire.client import Connection
from attack.wire.connection import AsyncConnection, no_cookies, straight_transport


def bounded_client(url: str, timeout_s: float, headers: Mapping[str, str], *, straight: bool) -> httpx.Client:
    """An httpx client with `url` before its paths, whose time-outs are of a request in all; `straight`: by no proxy.

    Raises EndpointError for an answer that the wire would not read either.
    """
    transport = straight_transport() if straight else None
    over = Connection(AsyncConnection(url, headers={}, transport=transport))
    once = _Bounded(over)
    headers = PACKED_HEADERS | dict(headers)
    return httpx.Client(base_url=url, timeout=timeout_s, headers=headers, transport=once, cookies=no_cookies())


class _Bounded(httpx.BaseTransport):
    """Sends by the wire's connection, once."""

    def __init__(self, over: Connection) -> None:
        self.over = over

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        timeout_s = request.extensions["timeout"]["read"]
        if not isinstance(request.stream, httpx.AsyncByteStream):
            assert isinstance(request.stream, httpx.SyncByteStream)
            request.stream = _Parts(request.stream)
        return self.over.attempt(request, timeout_s)

    def close(self) -> None:
        self.over.close()


class _Parts(httpx.AsyncByteStream):
    """A body that is made while it is sent."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part
