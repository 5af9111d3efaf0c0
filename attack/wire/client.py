"""The sync client of a label-only endpoint: labels for pictures, and retries that a user need not think about.

    with Client("http://127.0.0.1:8000") as client:
        client.predict(Path("bird.jpg"))            # "bird"
        client.predict_batch(pixels)                # uint8 (N, H, W, 3) -> ["bird", "abstain", ...]

N batch, H height, W width.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import numpy as np

from attack.wire.answers import Answer
from attack.wire.keys import key_headers
from attack.wire.messages import (
    IMAGE_TYPES,
    NPY,
    Info,
    npy_body,
    read_info,
    read_label,
    read_labels,
)
from attack.wire.pace import Pace
from attack.wire.retry import RETRIED, Attempts, RetryPolicy
from model.errors import ConfigError, EndpointError, ImageError
from model.pixels import Pixels, read_content

Picture = Path | bytes | Pixels
"""A file, the bytes of one (PNG), or uint8 (H, W, 3) pixels."""


class Connection:
    """Connections to one endpoint: requests go through the retry policy, and the pace is kept. Thread-safe.

    Without `headers` the environment's API key is sent.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        max_slots: int = 8,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = checked_url(url)
        self.retry = retry or RetryPolicy()
        self.pace = Pace(max_slots=max_slots)
        headers = key_headers() if headers is None else headers
        limits = httpx.Limits(max_connections=max_slots, max_keepalive_connections=max_slots)
        self.http = httpx.Client(timeout=timeout_s, headers=headers, limits=limits, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def send(self, request: httpx.Request) -> httpx.Response:
        """The first answer that is no passing trouble. Raises EndpointError when patience runs out."""
        attempts = Attempts(self.retry, str(request.url), self.pace.failed)
        while True:
            try:
                response = self._attempt(request)
            except self.retry.retry_errors as error:
                wait_s = attempts.after(None, error)
            except httpx.HTTPError as error:
                raise EndpointError(f"{request.url}: {error or type(error).__name__}") from error
            else:
                if response.status_code not in RETRIED:
                    self.pace.succeeded()
                    return response
                wait_s = attempts.after(response)
            time.sleep(wait_s)

    def _attempt(self, request: httpx.Request) -> httpx.Response:
        with closing(self.http.send(request, stream=True)) as response:
            answer = Answer(response, request.extensions["timeout"]["read"])
            for part in response.iter_bytes():
                answer.add(part)
            return answer.whole()


class Client(Connection):
    """Labels over HTTP from an endpoint of this project. Safe to share between threads.

    Raises EndpointError when the endpoint cannot be reached within `retry.patience_s` or answers something that is no
    label, ConfigError for a URL that is none.
    """

    _info: Info | None = None

    @property
    def info(self) -> Info:
        """Input size and limits of the endpoint, asked once."""
        if self._info is None:
            self._info = read_info(self.send(self.http.build_request("GET", self.url + "/info")))
        return self._info

    @property
    def described(self) -> str:
        """What a run on an endpoint that does not tell its weights is told from another by."""
        return self.url

    def predict(self, picture: Picture) -> str:
        """The label of one picture; a file is sent as it is, the endpoint resizes it."""
        content, content_type = encoded(picture)
        return read_label(self._post("/predict", content, content_type))

    def predict_batch(self, pixels: Pixels) -> list[str]:
        """uint8 (N, H, W, 3) -> N labels. More than the endpoint's `max_batch` go as several requests."""
        step = self.info.max_batch
        labels: list[str] = []
        for part in (pixels[i : i + step] for i in range(0, len(pixels), step)):
            labels += read_labels(self._post("/predict/batch", npy_body(part), NPY), part)
        return labels

    def _post(self, path: str, content: bytes, content_type: str) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return self.send(self.http.build_request("POST", self.url + path, content=content, headers=headers))


def encoded(picture: Picture) -> tuple[bytes, str]:
    """The body and the content type of one picture. Raises ImageError for a file that cannot be read or sent."""
    if isinstance(picture, np.ndarray):
        return npy_body(picture), NPY
    if isinstance(picture, bytes):
        return picture, IMAGE_TYPES[".png"]
    content_type = IMAGE_TYPES.get(picture.suffix.lower())
    if content_type is None:
        raise ImageError(f"{picture}: not one of {', '.join(IMAGE_TYPES)}")
    try:
        return read_content(picture), content_type
    except ImageError as error:
        raise ImageError(f"{picture}: {error}") from error
    except OSError as error:
        raise ImageError(f"{picture}: {error.strerror}") from error


def checked_url(url: str) -> str:
    """The URL without a trailing slash. Raises ConfigError unless it is http(s) with a host."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"{url!r} is no URL ({error}); give http://HOST:PORT") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{url!r} is no endpoint; give http://HOST:PORT")
    return url.rstrip("/")
