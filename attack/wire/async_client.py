"""The async client of a label-only endpoint; see `attack.wire.client` for the sync one.

    async with AsyncClient("http://127.0.0.1:8000") as client:
        labels = await client.predict_batch(pixels)

N batch, H height, W width.
"""

import asyncio

import httpx

from attack.wire.connection import AsyncConnection
from attack.wire.messages import NPY, Info, Picture, encoded, npy_body, read_info, read_label, read_labels
from model.pixels import Pixels


class AsyncClient(AsyncConnection):
    """As `Client`, for an event loop."""

    _info: Info | None = None

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
        answers = await asyncio.gather(*(self.labels_in_turn(part) for part in parts))
        return [label for labels in answers for label in labels]

    async def labels_in_turn(self, pixels: Pixels) -> list[str]:
        """As `predict_batch`, one request after the other."""
        step = (await self.info()).max_batch
        labels: list[str] = []
        for part in (pixels[i : i + step] for i in range(0, len(pixels), step)):
            labels += read_labels(await self._post("/predict/batch", npy_body(part), NPY), part)
        return labels

    async def _post(self, path: str, content: bytes, content_type: str) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return await self.send(self.http.build_request("POST", self.url + path, content=content, headers=headers))
