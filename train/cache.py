"""Photos decoded once into uint8 squares on disk, so that the network never waits for a decoder.

N photos, S side of the stored square.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from model.console import Report, progress, say
from model.cpus import usable_cpus
from model.errors import DataError, ImageError
from model.files import write_json
from model.labels import CLASSES
from model.photos import find_photos, status_of, trouble_with
from model.pixels import Pixels, load_square, read_content
from train.digest import DataDigest

CHUNK: Final = 256


class Picture(NamedTuple):
    """What a cache is made of."""

    name: str
    label: int
    decode: Callable[[int], tuple[str, Pixels]]
    """Side in pixels -> hex SHA-256 of the encoded picture, (S, S, 3) pixels. Raises ImageError or OSError."""


class Failure(NamedTuple):
    """Why a photo is left out, and whether it may be readable tomorrow: a disk, a right or memory failed, not it."""

    reason: str
    passing: bool


@dataclass(frozen=True)
class PhotoCache:
    """The decoded photos of one split.

    Rows are read, not mapped: the pages of a memory map that were touched count as resident memory, and a training run
    touches all of them. Reading from the page cache costs one copy.
    """

    file: Path
    size: int
    classes: tuple[str, ...]
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
                    raise DataError(f"{self.file}: ends early; the next run makes it anew")
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def open_cache(folder: Path, size: int, classes: tuple[str, ...] = CLASSES) -> PhotoCache:
    """The cache of a folder's photos at `size`, made first where it is missing or the folder has changed.

    Kept under TRADES_BOB_CACHE (by default ~/.cache/trades-bob). A photo that cannot be decoded is named at each
    opening and left out. Raises DataError when the folder is not laid out as photos are, or a class has none that can
    be read.
    """
    photos = find_photos(folder, classes=classes)
    pictures = [Picture(photo.name, photo.label, partial(_decode_file, photo.path)) for photo in photos]
    return cached(folder, [photo.path for photo in photos], lambda: pictures, size, classes)


def cached(
    source: Path,
    files: Iterable[Path],
    pictures: Callable[[], Sequence[Picture]],
    size: int,
    classes: tuple[str, ...],
) -> PhotoCache:
    """As `open_cache`, for any pictures that lie in `files`; they are asked for where there is no cache yet."""
    stem = _cache_root() / f"{_state_of(files, size, classes)}-{size}"
    index = _whole_index(stem, size) or _build(pictures(), size, stem, source)
    for name, reason in index["left_out"].items():
        say(f"left out: {source / name}: {reason}")
    labels = torch.tensor(index["labels"])
    for label, name in enumerate(classes):
        if not (labels == label).any():
            raise DataError(f"{source / name}: none of its pictures can be read")
    return PhotoCache(_pixels(stem, index), size, classes, labels, tuple(index["names"]), index["digest"])


def _cache_root() -> Path:
    try:
        return Path(os.environ.get("TRADES_BOB_CACHE") or Path.home() / ".cache" / "trades-bob")
    except RuntimeError as error:
        raise DataError("there is no home folder to keep decoded photos in; set TRADES_BOB_CACHE") from error


def _state_of(files: Iterable[Path], size: int, classes: tuple[str, ...]) -> str:
    """Changes when a file is added, removed, renamed, put into another class or written anew; costs no reading.

    Class and name are those of the folder: where a file is a link, what it leads to says nothing of them.
    """
    state = hashlib.sha256(os.fsencode(f"{size} {classes}\n"))
    for file in files:  # realpath, and not Path.resolve, bears links that go in a circle
        status = status_of(file)
        name = f"{file.parent.name}/{file.name}"
        state.update(os.fsencode(f"{name}\0{os.path.realpath(file)}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return state.hexdigest()[:24]


def _pixels(stem: Path, index: dict[str, Any]) -> Path:
    """The file of the decoded photos, named by what they are: a run that reads it never finds others in its place."""
    return stem.with_name(f"{stem.name}-{index['digest'][:16]}.u8")


def _whole_index(stem: Path, size: int) -> dict[str, Any] | None:
    """The index of a cache whose pixels are all there; None where a file is missing, cut short or no such.

    What then stands in the way of a new one is told as that is written.
    """
    try:
        index = json.loads(stem.with_suffix(".json").read_text())
        if not _is_index(index):
            return None
        whole = _pixels(stem, index).stat().st_size == len(index["names"]) * size * size * 3
    except (OSError, ValueError, RecursionError):
        return None
    return index if whole else None


def _is_index(index: Any) -> bool:
    """Whether it is one as `_write_pixels` makes it. Names may be what pydantic refuses: no UTF-8."""
    match index:
        case {"labels": [*labels], "names": [*names], "digest": str(), "left_out": dict(left_out)}:
            texts = all(isinstance(text, str) for text in (*names, *left_out.values()))
            return texts and len(labels) == len(names) and all(type(label) is int for label in labels)
    return False


def _build(pictures: Sequence[Picture], size: int, stem: Path, source: Path) -> dict[str, Any]:
    """Decode all pictures, and write pixels and index; the index.

    It is not kept where a photo could not be read just now: the next run tries again.
    """
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_overs(stem.parent)
        with _partial_file(stem) as file, progress(f"decoding {source}", len(pictures)) as report:
            index, passing = _write_pixels(file, pictures, size, report)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(_pixels(stem, index))
        if not passing:
            write_json(stem.with_suffix(".json"), index)
        return index
    except OSError as error:
        raise DataError(
            f"{stem.parent}: cannot write the photo cache: {error.strerror}; set TRADES_BOB_CACHE to another folder"
        ) from error


def _write_pixels(
    file: BinaryIO, pictures: Sequence[Picture], size: int, report: Report
) -> tuple[dict[str, Any], bool]:
    """Decode all pictures into `file`; the index, and whether a photo failed in a way that may pass."""
    kept: list[Picture] = []
    left_out: dict[str, str] = {}
    digest = DataDigest()
    passing = False
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for start in range(0, len(pictures), CHUNK):  # in chunks, so that decoded photos never pile up in memory
            chunk = pictures[start : start + CHUNK]
            for picture, decoded in zip(chunk, pool.map(lambda one: _decode(one, size), chunk), strict=True):
                if isinstance(decoded, Failure):
                    left_out[picture.name] = decoded.reason
                    passing |= decoded.passing
                    continue
                content_digest, pixels = decoded
                file.write(pixels.tobytes())
                digest.add(picture.name, content_digest)
                kept.append(picture)
            report(start + len(chunk))
    index = {"labels": [p.label for p in kept], "names": [p.name for p in kept], "digest": digest.hexdigest()}
    return index | {"left_out": left_out}, passing


@contextmanager
def _partial_file(stem: Path) -> Iterator[BinaryIO]:
    """A new file that nobody else writes, locked; in the end it is gone, unless it was renamed."""
    file = _new_locked(stem)
    try:
        with file:
            yield file
    finally:
        Path(file.name).unlink(missing_ok=True)


def _new_locked(stem: Path) -> BinaryIO:
    """The lock ends with the process, however that ends."""
    while True:
        file = stem.with_suffix(f".{uuid4().hex}.partial").open("xb")  # two containers may have equal process ids
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # before it was locked another process took it for a left-over


def _remove_left_overs(folder: Path) -> None:
    """Delete what processes that were killed had written so far: the partial files that nobody holds locked."""
    for path in folder.glob("*.partial"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _decode(picture: Picture, size: int) -> tuple[str, Pixels] | Failure:
    try:
        return picture.decode(size)
    except MemoryError:
        return Failure("too little memory", passing=True)
    except OSError as error:
        return Failure(error.strerror or str(error), passing=True)
    except ImageError as error:  # which may be how a decoder says that there was too little memory
        return Failure(str(error), passing=isinstance(error.__cause__, MemoryError))


def _decode_file(path: Path, size: int) -> tuple[str, Pixels]:
    if trouble := trouble_with(path):
        raise ImageError(trouble)
    content = read_content(path)
    return hashlib.sha256(content).hexdigest(), load_square(content, size)
