"""Folders of photos in the `ImageFolder` layout: `bicycle/` and `bird/`."""

import os
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final, NamedTuple

from model.errors import DataError
from model.labels import CLASSES

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class Photo(NamedTuple):
    """A file and its class index (bicycle 0, bird 1)."""

    path: Path
    label: int

    @property
    def name(self) -> str:
        """Class folder and file name, `bird/0001.jpg`: unique within a folder of photos."""
        return f"{self.path.parent.name}/{self.path.name}"


def find_photos(
    folder: Path, limit: int | None = None, seed: int = 0, classes: tuple[str, ...] = CLASSES
) -> list[Photo]:
    """All photos of a folder in a fixed order, or `limit` of them.

    A limited list is a seeded draw, balanced over the classes and interleaved (bicycle, bird, bicycle, ...), so that
    any prefix of it is balanced too. What has a picture's suffix and is no regular file is a photo that cannot be read.
    Raises DataError when the folder or a class folder is missing, cannot be read or has no picture.
    """
    by_class = [_of_class(folder, label, classes) for label in range(len(classes))]
    if limit is None:
        return list(chain.from_iterable(by_class))
    if limit < 1:
        raise DataError(f"the limit of photos must be at least 1, not {limit}")
    for photos in by_class:
        random.Random(seed).shuffle(photos)  # noqa: S311  (a draw to be repeated, not a secret)
    interleaved = chain.from_iterable(zip_longest(*by_class))
    return [photo for photo in interleaved if photo is not None][:limit]


def pictures_in(directory: Path) -> list[Path]:
    """What has a picture's suffix, sorted. Raises OSError."""
    return sorted(file for file in directory.iterdir() if file.suffix.lower() in SUFFIXES)


def status_of(file: Path) -> os.stat_result:
    """Of what a photo's file leads to; where it leads to nothing, of the link itself. Raises OSError."""
    try:
        return file.stat()
    except OSError:
        return file.lstat()


def trouble_with(file: Path) -> str:
    """Why a photo's file is none to open, by its status alone: a pipe would be waited for. Empty for a regular file."""
    mode = status_of(file).st_mode
    if stat.S_ISLNK(mode):
        return "the link leads to no file"
    return "" if stat.S_ISREG(mode) else "the file is no regular file"


@contextmanager
def looking_through() -> Iterator[None]:
    """A folder that the system does not let us look through is a DataError, as one that is not there."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; name a folder of photos that can be read") from error


@looking_through()
def _of_class(folder: Path, label: int, classes: tuple[str, ...]) -> list[Photo]:
    directory = folder / classes[label]
    if not directory.is_dir():
        layout = " and ".join(f"{name}/" for name in classes)
        raise DataError(f"{directory}: no such folder; photos are laid out as {layout} inside {folder}")
    files = pictures_in(directory)
    if not files:
        raise DataError(f"{directory}: no picture in it ({', '.join(SUFFIXES)})")
    return [Photo(file, label) for file in files]
