"""The async client of a label-only endpoint; see `attack.wire.client` for the sync one.

    async with AsyncClient("http://127.0.0.1:8000") as client:
        labels = await client.predict_batch(pixels)

N batch, H height, W width.
"""

import asyncio
import math
import sys

import httpx

from attack.wire.connection import AsyncConnection
from attack.wire.messages import NPY, Info, Picture, encoded, npy_body, read_info, read_label, read_labels
from model.errors import RefusedError
from model.pixels import Pixels


class AsyncClient(AsyncConnection):
    """As `Client`, for an event loop."""

    _info: Info | None = None
    fits = sys.maxsize
    """Pictures that a request may hold, once the endpoint has called more of them too large (413)."""

    async def info(self) -> Info:
        """Input size and limits of the endpoint, asked once."""
        if self._info is None:
            self._info = await self.info_now()
        return self._info

    async def info_now(self) -> Info:
        """As `info`, asked anew."""
        return read_info(await self.send(self.http.build_request("GET", self.url + "/info")))

    async def max_batch(self) -> int:
        """Pictures a request: what `info` says, fewer once that was too large."""
        return min((await self.info()).max_batch, self.fits)

    async def predict(self, picture: Picture) -> str:
        """The label of one picture; a file is sent as it is, the endpoint resizes it."""
        content, content_type = encoded(picture)
        return read_label(await self._post("/predict", content, content_type))

    async def predict_batch(self, pixels: Pixels) -> list[str]:
        """uint8 (N, H, W, 3) -> N labels. More than `max_batch` go as requests side by side, `max_slots` at most."""
        step = await self.max_batch()
        share = step * max(1, math.ceil(len(pixels) / (step * self.pace.max_slots)))
        shares = (pixels[i : i + share] for i in range(0, len(pixels), share))
        tasks = [asyncio.create_task(self.labels_in_turn(part)) for part in shares]
        try:
            return [label for labels in await asyncio.gather(*tasks) for label in labels]
        finally:
            for task in tasks:  # where one has failed nobody waits for the others' labels
                task.cancel()

    async def labels_in_turn(self, pixels: Pixels) -> list[str]:
        """As `predict_batch`, one request after the other. What is too large (413) is halved, and so are later ones.

        Raises RefusedError with the labels of the requests before.
        """
        labels: list[str] = []
        while len(labels) < len(pixels):
            part = pixels[len(labels) :][: await self.max_batch()]
            try:
                response = await self._post("/predict/batch", npy_body(part), NPY)
                if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE and len(part) > 1:
                    self.fits = min(self.fits, len(part) // 2)
                    continue
                labels += read_labels(response, part)
            except RefusedError as error:
                error.answered = labels
                raise
        return labels

    async def _post(self, path: str, content: bytes, content_type: str) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return await self.send(self.http.build_request("POST", self.url + path, content=content, headers=headers))
