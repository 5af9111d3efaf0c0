"""The async client of a label-only endpoint; see `attack.wire.client` for the sync one.

    async with AsyncClient("http://127.0.0.1:8000") as client:
        labels = await client.predict_batch(pixels)

N batch, H height, W width.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self

import httpx

from attack.wire.answers import Answer
from attack.wire.client import Picture, checked_url, encoded
from attack.wire.keys import key_headers
from attack.wire.messages import NPY, Info, npy_body, read_info, read_label, read_labels
from attack.wire.pace import Pace
from attack.wire.retry import RETRIED, Attempts, RetryPolicy
from model.errors import EndpointError
from model.pixels import Pixels


class AsyncClient:
    """As `Client`, for an event loop; at most `max_slots` requests are under way at once."""

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
        headers = key_headers() if headers is None else headers
        limits = httpx.Limits(max_connections=max_slots, max_keepalive_connections=max_slots)
        self.http = httpx.AsyncClient(timeout=timeout_s, headers=headers, limits=limits, transport=transport)
        self._slots = asyncio.Semaphore(max_slots)
        self._info: Info | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def info(self) -> Info:
        """Input size and limits of the endpoint, asked once."""
        if self._info is None:
            self._info = read_info(await self.send(self.http.build_request("GET", self.url + "/info")))
        return self._info

    async def predict(self, picture: Picture) -> str:
        """The label of one picture; a file is sent as it is, the endpoint resizes it."""
        content, content_type = encoded(picture)
        return read_label(await self._post("/predict", content, content_type))

    async def predict_batch(self, pixels: Pixels) -> list[str]:
        """uint8 (N, H, W, 3) -> N labels. More than the endpoint's `max_batch` go as requests side by side."""
        step = (await self.info()).max_batch
        parts = [pixels[i : i + step] for i in range(0, len(pixels), step)]
        answers = await asyncio.gather(*(self._labels(part) for part in parts))
        return [label for labels in answers for label in labels]

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The first answer that is no passing trouble. Raises EndpointError when patience runs out."""
        attempts = Attempts(self.retry, str(request.url), self.pace.failed)
        while True:
            try:
                async with self._slots:
                    response = await self._attempt(request)
            except self.retry.retry_errors as error:
                wait_s = attempts.after(None, error)
            except httpx.HTTPError as error:
                raise EndpointError(f"{request.url}: {error or type(error).__name__}") from error
            else:
                if response.status_code not in RETRIED:
                    self.pace.succeeded()
                    return response
                wait_s = attempts.after(response)
            await asyncio.sleep(wait_s)

    async def _attempt(self, request: httpx.Request) -> httpx.Response:
        async with aclosing(await self.http.send(request, stream=True)) as response:
            answer = Answer(response, request.extensions["timeout"]["read"])
            async for part in response.aiter_bytes():
                answer.add(part)
            return answer.whole()

    async def _labels(self, part: Pixels) -> list[str]:
        return read_labels(await self._post("/predict/batch", npy_body(part), NPY), part)

    async def _post(self, path: str, content: bytes, content_type: str) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return await self.send(self.http.build_request("POST", self.url + path, content=content, headers=headers))
