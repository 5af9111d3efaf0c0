"""The async client of a label-only endpoint; see `attack.wire.client` for the sync one.

    async with AsyncClient("http://127.0.0.1:8000") as client:
        labels = await client.predict_batch(pixels)

N batch, H height, W width.
"""

import sys
from pathlib import Path
from typing import Unpack

import httpx

from attack.wire.background import aside
from attack.wire.connection import AsyncConnection, Options, base_url
from attack.wire.messages import (
    NPY,
    REQUEST_BYTES,
    Info,
    Picture,
    encoded,
    npy_body,
    read_info,
    read_label,
    read_labels,
)
from attack.wire.spread import spread
from model.errors import RefusedError
from model.pixels import Pixels


class AsyncClient(AsyncConnection):
    """As `Client`, for an event loop."""

    fits = sys.maxsize
    """Pictures that a request may hold, once the endpoint has called more of them too large (413)."""
    _info: Info | None = None

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        super().__init__(base_url(url), **options)

    async def info(self) -> Info:
        """Input size and limits of the endpoint, asked once."""
        if self._info is None:
            self._info = await self.info_now()
        return self._info

    async def info_now(self) -> Info:
        """As `info`, asked anew."""
        response = await self.send(self.http.build_request("GET", self.url + "/info"))
        return await aside(len(response.content), read_info, response)

    async def max_batch(self) -> int:
        """Pictures a request: what `info` says, fewer once that was too large."""
        return min((await self.info()).max_batch, self.fits)

    async def predict(self, picture: Picture) -> str:
        """The label of one picture; a file is sent as it is, the endpoint resizes it."""
        content, content_type = await aside(_n_bytes(picture), encoded, picture)
        response = await self._post("/predict", content, content_type)
        return await aside(len(response.content), read_label, response)

    async def predict_batch(self, pixels: Pixels) -> list[str]:
        """uint8 (N, H, W, 3) -> N labels. What is more than a request takes goes as several, side by side."""
        fitting = max(1, REQUEST_BYTES // (pixels[:1].nbytes or 1))
        return await spread(pixels, min(await self.max_batch(), fitting), self.pace, self.labels_in_turn)

    async def labels_in_turn(self, pixels: Pixels) -> list[str]:
        """As `predict_batch`, one request after the other. What is too large (413) is halved, and so are later ones.

        Raises RefusedError with the labels that there are by then.
        """
        labels: list[str] = []
        while len(labels) < len(pixels):
            part = pixels[len(labels) :][: await self.max_batch()]
            try:
                response = await self._post("/predict/batch", await aside(part.nbytes, npy_body, part), NPY)
                if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE and len(part) > 1:
                    self.fits = min(self.fits, len(part) // 2)
                    continue
                n_bytes = len(response.content) + 2 * part[:1].nbytes  # two pictures are hashed
                labels += await aside(n_bytes, read_labels, response, part)
            except RefusedError as error:
                error.answered = [*labels, *error.answered]
                raise
        return labels

    async def _post(self, path: str, content: bytes, content_type: str) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return await self.send(self.http.build_request("POST", self.url + path, content=content, headers=headers))


def _n_bytes(picture: Picture) -> int:
    """How much there is to copy; a file counts as more than any, for who knows how far its disk is away."""
    if isinstance(picture, Path):
        return sys.maxsize
    return len(picture) if isinstance(picture, bytes) else picture.nbytes
