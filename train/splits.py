"""The splits of a data folder: photos by class, or the binary version of CIFAR-10 as it is unpacked. N photos."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np

from model.errors import DataError
from model.pixels import Pixels, to_square
from train.cache import PhotoCache, Picture, cached, open_cache

CIFAR_FILES: Final = {"train": "data_batch_*.bin", "val": "test_batch.bin"}
CIFAR_CLASSES: Final = 10
SIDE: Final = 32
RECORD: Final = 1 + 3 * SIDE * SIDE
"""Bytes a picture: its class, then its red, green and blue rows (Krizhevsky 2009, the binary version)."""


def open_split(data: Path, split: Literal["train", "val"], size: int, classes: tuple[str, ...]) -> PhotoCache:
    """The cached photos of `data`/`split`, or of CIFAR-10's binary files in `data`: its test batch is `val`.

    Raises DataError as `open_cache`, for the pickled version, which only running what it holds could read, and for
    files that are no such batches.
    """
    files = sorted(data.glob(CIFAR_FILES[split]))
    if files:
        if len(classes) != CIFAR_CLASSES:
            raise DataError(f"{data}: CIFAR-10 has {CIFAR_CLASSES} classes, and `classes` names {len(classes)}")
        return cached(data, files, partial(_cifar_pictures, files), size, classes)
    if (data / "data_batch_1").is_file():
        raise DataError(f"{data}: CIFAR-10 as pickles, which may run code; take its binary version (data_batch_1.bin)")
    return open_cache(data / split, size, classes)


def _cifar_pictures(files: Sequence[Path]) -> list[Picture]:
    return [picture for file in files for picture in _batch(file)]


def _batch(file: Path) -> list[Picture]:
    content = np.fromfile(file, dtype=np.uint8)
    if not content.size or content.size % RECORD or content[::RECORD].max() >= CIFAR_CLASSES:
        raise DataError(f"{file}: not a batch of CIFAR-10 ({content.size} bytes); unpack it again")
    return [
        Picture(f"{file.stem}/{number:05}", int(record[0]), partial(_decode, record))
        for number, record in enumerate(content.reshape(-1, RECORD))
    ]


def _decode(record: Pixels, size: int) -> tuple[str, Pixels]:
    picture = record[1:].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
    return hashlib.sha256(record.tobytes()).hexdigest(), to_square(np.ascontiguousarray(picture), size)
