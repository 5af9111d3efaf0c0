"""Photos decoded once into uint8 squares on disk, so that the network never waits for a decoder.

N photos, S side of the stored square.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from model.console import progress, say
from model.errors import DataError, ImageError
from model.files import write_json
from model.labels import CLASSES
from model.photos import Photo, find_photos
from model.pixels import Pixels, load_square
from train.digest import DataDigest

CHUNK: Final = 256


@dataclass(frozen=True)
class PhotoCache:
    """The decoded photos of one folder.

    Rows are read, not mapped: the pages of a memory map that were touched count as resident memory, and a training run
    touches all of them. Reading from the page cache costs one copy.
    """

    file: Path
    size: int
    labels: Tensor
    """(N,) int64 class indices."""
    names: tuple[str, ...]
    digest: str
    """Hex SHA-256 over the names and bytes of the photos that could be decoded."""

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.names)

    @property
    def nbytes(self) -> int:
        """Size of the decoded photos."""
        return len(self) * self.size * self.size * 3

    def take(self, indices: Tensor) -> Tensor:
        """(n,) indices -> (n, 3, S, S) uint8."""
        row = self.size * self.size * 3
        pixels = np.empty((len(indices), self.size, self.size, 3), dtype=np.uint8)
        with self.file.open("rb", buffering=0) as file:
            for place, index in zip(pixels, indices.tolist(), strict=True):
                file.seek(index * row)
                if file.readinto(place.reshape(-1).data) != row:
                    raise DataError(f"{self.file}: ends early; delete it and its .json to have it made anew")
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def open_cache(folder: Path, size: int) -> PhotoCache:
    """The cache of a folder's photos at `size`, made first where it is missing or the folder has changed.

    Kept under TRADES_BOB_CACHE (by default ~/.cache/trades-bob). A photo that cannot be decoded is named and left out.
    Raises DataError when the folder is not laid out as photos are, or a class has none that can be read.
    """
    photos = find_photos(folder)
    stem = _cache_root() / f"{_state_of(photos, size)}-{size}"
    if not stem.with_suffix(".json").exists():
        _build(photos, size, stem, folder)
    index = json.loads(stem.with_suffix(".json").read_text())
    labels = torch.tensor(index["labels"])
    for label, name in enumerate(CLASSES):
        if not (labels == label).any():
            raise DataError(f"{folder / name}: none of its pictures can be read")
    return PhotoCache(stem.with_suffix(".u8"), size, labels, tuple(index["names"]), index["digest"])


def _cache_root() -> Path:
    return Path(os.environ.get("TRADES_BOB_CACHE") or Path.home() / ".cache" / "trades-bob")


def _state_of(photos: list[Photo], size: int) -> str:
    """Changes when a photo is added, removed, renamed or written anew; costs no reading."""
    state = hashlib.sha256(str(size).encode())
    for photo in photos:
        status = photo.path.stat()
        state.update(f"{photo.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return state.hexdigest()[:24]


def _build(photos: list[Photo], size: int, stem: Path, folder: Path) -> None:
    kept: list[Photo] = []
    digest = DataDigest()
    partial = stem.with_suffix(f".{os.getpid()}.partial")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with (
            partial.open("wb") as file,
            ThreadPoolExecutor(os.cpu_count()) as pool,
            progress(f"decoding {folder}", len(photos)) as report,
        ):
            for start in range(0, len(photos), CHUNK):  # in chunks, so that decoded photos never pile up in memory
                chunk = photos[start : start + CHUNK]
                for photo, decoded in zip(chunk, pool.map(lambda photo: _decode(photo, size), chunk), strict=True):
                    if decoded is None:
                        continue
                    content_digest, pixels = decoded
                    file.write(pixels.tobytes())
                    digest.add(photo.name, content_digest)
                    kept.append(photo)
                report(start + len(chunk))
        partial.replace(stem.with_suffix(".u8"))
        index = {"labels": [p.label for p in kept], "names": [p.name for p in kept], "digest": digest.hexdigest()}
        write_json(stem.with_suffix(".json"), index)
    except OSError as error:
        raise DataError(
            f"{stem.parent}: cannot write the photo cache: {error.strerror}; set TRADES_BOB_CACHE"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _decode(photo: Photo, size: int) -> tuple[str, Pixels] | None:
    try:
        content = photo.path.read_bytes()
        return hashlib.sha256(content).hexdigest(), load_square(content, size)
    except (ImageError, OSError) as error:
        say(f"left out: {photo.path}: {error}")
        return None
