"""Bytes from a server that may be slow, broken or gone: retries, deadlines, a stream that goes on where it broke."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import httpx

from attack.wire.retry import RETRIED, Attempts, RetryPolicy
from model.errors import DownloadError
from train.official.settings import DownloadSettings

GONE: Final = frozenset({404, 410})
PARTIAL: Final = 206


class NotServedError(DownloadError):
    """The server answered, and the answer is no. `gone`: what was asked for does not exist there any more."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"{url}: status {status}")
        self.status, self.gone = status, status in GONE


class StoppedError(DownloadError):
    """The download ends for another reason; this request was let go."""


class Fetcher:
    """Requests over shared connections. Thread-safe; `stop` ends all of them, waits included."""

    def __init__(self, settings: DownloadSettings) -> None:
        self.settings = settings
        self.stop = threading.Event()
        self.retry = RetryPolicy(first_wait_s=0.2, longest_wait_s=15, patience_s=settings.patience_s)
        limits = httpx.Limits(max_connections=settings.workers + 1, max_keepalive_connections=settings.workers + 1)
        # identity: a compressed body has no byte offsets to go on from.
        headers = {"Accept-Encoding": "identity"}
        self.http = httpx.Client(timeout=settings.timeout_s, limits=limits, headers=headers, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.http.close()

    def get(self, url: str) -> bytes:
        """One whole body of at most `max_photo_bytes`.

        Raises NotServedError for an answer that asking again will not change, DownloadError for a body that is too
        long, EndpointError once patience has run out, StoppedError after `stop`.
        """
        attempts = self._attempts(url)
        while True:
            with self._patiently(attempts), self._answer(url) as response:
                return self._body(response)

    def stream(self, url: str) -> Iterator[tuple[bytes, int | None]]:
        """The parts of a large body as they come, each with the body's length where the server told it.

        Nothing is held. A break, or silence, is followed by a request for the rest; where the server gives no ranges
        the start is read again and dropped. Errors as `get`; DownloadError also when the file changed in between.
        """
        done, tag, attempts = 0, "", self._attempts(url)
        while True:
            headers = {"Range": f"bytes={done}-", "If-Range": tag} if done and tag else {}
            with self._patiently(attempts), self._answer(url, headers) as response:
                if done and _tag(response) != tag:
                    raise DownloadError(f"{url}: changed while it was read; run the same command again")
                tag, skip = _tag(response), 0 if response.status_code == PARTIAL else done
                total = _length(response, done - skip)
                for part in response.iter_raw():
                    self._check_stop()
                    news = part[skip:]
                    skip = max(skip - len(part), 0)
                    if news:
                        done += len(news)
                        attempts.restart()
                        yield news, total
                return

    @contextmanager
    def _patiently(self, attempts: Attempts) -> Iterator[None]:
        """The block; where it meets a trouble that passes, a wait, after which the caller runs it again."""
        try:
            yield
            return
        except httpx.HTTPStatusError as error:
            wait_s = attempts.after(error.response)
        except self.retry.retry_errors as error:
            wait_s = attempts.after(None, error)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DownloadError(f"{attempts.url}: {error or type(error).__name__}") from error
        self.stop.wait(wait_s)
        self._check_stop()

    @contextmanager
    def _answer(self, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        """A response with a body to read. Raises NotServedError, or HTTPStatusError where asking again may help."""
        with self.http.stream("GET", url, headers=headers) as response:
            if response.status_code in RETRIED:
                raise httpx.HTTPStatusError("busy", request=response.request, response=response)
            if response.status_code not in ((httpx.codes.OK, PARTIAL) if headers else (httpx.codes.OK,)):
                raise NotServedError(url, response.status_code)
            yield response

    def _attempts(self, url: str) -> Attempts:
        return Attempts(self.retry, url, lambda *_: None)

    def _body(self, response: httpx.Response) -> bytes:
        body, ends_at = bytearray(), time.monotonic() + self.settings.photo_timeout_s
        for part in response.iter_raw():
            self._check_stop()
            body += part
            if len(body) > self.settings.max_photo_bytes:
                raise DownloadError(f"{response.url}: more than {self.settings.max_photo_bytes} bytes")
            if time.monotonic() > ends_at:
                raise httpx.ReadTimeout("drips")
        return bytes(body)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise StoppedError("stopped")


def _tag(response: httpx.Response) -> str:
    """What tells one version of a file from another; weak ETags do not, byte for byte (RFC 9110, 13.1.5)."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _length(response: httpx.Response, before: int) -> int | None:
    length = response.headers.get("Content-Length")
    return before + int(length) if length is not None else None
