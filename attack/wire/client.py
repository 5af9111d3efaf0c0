"""The sync client of a label-only endpoint: labels for pictures, and retries that a user need not think about.

    with Client("http://127.0.0.1:8000") as client:
        client.predict(Path("bird.jpg"))            # "bird"
        client.predict_batch(pixels)                # uint8 (N, H, W, 3) -> ["bird", "abstain", ...]

N batch, H height, W width.
"""

from collections.abc import Coroutine
from concurrent.futures import CancelledError
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from attack.wire.async_client import AsyncClient
from attack.wire.background import LoopThread
from attack.wire.connection import AsyncConnection, Options
from attack.wire.messages import Info, Picture
from model.errors import EndpointError
from model.pixels import Pixels

T = TypeVar("T")


class Connection:
    """The sync face of an `AsyncConnection`. Thread-safe; `close` ends what other threads wait for."""

    def __init__(self, over: AsyncConnection) -> None:
        self._over, self._loop = over, LoopThread()
        self.url, self.retry, self.pace, self.http = over.url, over.retry, over.pace, over.http

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._loop.close(self._over.close())

    def send(self, request: httpx.Request, timeout_s: float | None = None) -> httpx.Response:
        """As `AsyncConnection.send`."""
        return self._run(self._over.send(request, timeout_s))

    def attempt(self, request: httpx.Request, timeout_s: float) -> httpx.Response:
        """As `AsyncConnection.attempt`."""
        return self._run(self._over.attempt(request, timeout_s))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(work)
        except CancelledError as error:
            raise EndpointError(f"{self.url}: the client was closed, or made before this process was forked") from error


class Client(Connection):
    """Labels over HTTP from an endpoint of this project. Safe to share between threads.

    Raises EndpointError when the endpoint cannot be reached within `retry.patience_s` or answers something that is no
    label, ConfigError for a URL that is none.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self._client = AsyncClient(url, **options)
        super().__init__(self._client)

    @cached_property
    def info(self) -> Info:
        """Input size and limits of the endpoint, asked once."""
        return self._run(self._client.info())

    def info_now(self) -> Info:
        """As `info`, asked anew."""
        return self._run(self._client.info_now())

    @property
    def max_batch(self) -> int:
        """Pictures a request: what `info` says, fewer once the endpoint has called that too large (413)."""
        return min(self.info.max_batch, self._client.fits)

    @property
    def described(self) -> str:
        """What a run on an endpoint that does not tell its weights is told from another by."""
        return self.url

    def predict(self, picture: Picture) -> str:
        """The label of one picture; a file is sent as it is, the endpoint resizes it."""
        return self._run(self._client.predict(picture))

    def predict_batch(self, pixels: Pixels) -> list[str]:
        """uint8 (N, H, W, 3) -> N labels. What is more than a request takes goes as several, side by side."""
        return self._run(self._client.predict_batch(pixels))

    def labels_in_turn(self, pixels: Pixels) -> list[str]:
        """As `predict_batch`, one request after the other. Raises RefusedError with the labels so far."""
        return self._run(self._client.labels_in_turn(pixels))
