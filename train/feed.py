"""The photos of each step on the training device, before they are asked for. N photos, n a step, S stored side."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import torch
from torch import Tensor

from train.cache import PhotoCache

RESIDENT_SHARE: Final = 0.25
"""Of a GPU's free memory that photos may take."""
CHUNK: Final = 512


class Feed:
    """Rows of a cache by step: from the GPU's own memory where all photos fit, else read one step ahead by a thread."""

    def __init__(self, photos: PhotoCache, indices_at: Callable[[int], Tensor], device: torch.device) -> None:
        """`indices_at`: the photo indices of a step, (n,) int64 on the CPU."""
        self.photos, self.indices_at, self.device = photos, indices_at, device
        self._resident = _load(photos, device) if fits(photos, device) else None
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="photos")
        self._ahead: dict[int, Future[Tensor]] = {}

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """(n, 3, S, S) uint8 photos and (n,) int64 classes on the device. Raises DataError for a broken cache."""
        indices = self.indices_at(step)
        return self._rows(step, indices), self.photos.labels[indices].to(self.device, non_blocking=True)

    @property
    def resident(self) -> bool:
        """Whether all photos lie in the device's memory, so that any step's are there at once."""
        return self._resident is not None

    def following(self, step: int) -> Callable[[], Tensor] | None:
        """The photos of the step after `step`, for `TrainStep`; None where they are still being read."""
        return (lambda: self.at(step + 1)[0]) if self.resident else None

    def close(self) -> None:
        """End the reading thread."""
        self._reader.shutdown(cancel_futures=True)

    def _rows(self, step: int, indices: Tensor) -> Tensor:
        if self._resident is not None:
            return self._resident[indices.to(self.device)].permute(0, 3, 1, 2)
        now = self._ahead.pop(step, None) or self._reader.submit(self._read, indices)
        self._ahead = {step + 1: self._reader.submit(self._read, self.indices_at(step + 1))}
        return now.result().to(self.device, non_blocking=True)

    def _read(self, indices: Tensor) -> Tensor:
        rows = self.photos.take(indices)
        return rows.pin_memory() if self.device.type == "cuda" else rows


def fits(photos: PhotoCache, device: torch.device) -> bool:
    """Whether the photos are kept in the device's memory; on a CPU the page cache holds them already."""
    if device.type != "cuda":
        return False
    return photos.nbytes <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]


def _load(photos: PhotoCache, device: torch.device) -> Tensor:
    """(N, S, S, 3) uint8 on the device, in chunks: the CPU never holds them all."""
    resident = torch.empty((len(photos), photos.size, photos.size, 3), dtype=torch.uint8, device=device)
    for chunk in torch.split(torch.arange(len(photos)), CHUNK):
        resident[chunk[0] : chunk[-1] + 1] = photos.take(chunk).permute(0, 2, 3, 1).to(device)
    return resident
