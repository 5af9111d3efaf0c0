"""Photos in one small file for a slow way in: squares as WebP, with labels, splits and hashes; and back to folders.

The file is an npz without compression: `data`, all pictures in a row; `ends`, where each ends in it; `names`, lines
SPLIT/CLASS/FILE.webp; `sha256` of the data. A tar would add 800 bytes to pictures of 3,000. S side of the squares.
"""

import hashlib
import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.console import progress, say
from model.errors import DataError, ImageError
from model.photos import find_photos
from model.pixels import load_square
from tools.gpu.plan import QUALITY, SIDE

SPLITS: Final = ("train", "val", "shifted")
METHOD: Final = 6
"""WebP's slowest and smallest."""


def pack(photos: Path, out: Path, side: int = SIDE, quality: int = QUALITY, limit: int | None = None) -> Counter[str]:
    """Write the splits of `photos` to the file `out`; the number of pictures of each split.

    Each split holds bicycle/ and bird/; a split that is not there is left out. `limit`: at most so many of each split,
    balanced. A photo that cannot be decoded is named and left out.
    """
    found = {split: find_photos(photos / split, limit) for split in SPLITS if (photos / split).is_dir()}
    if not found:
        raise DataError(f"{photos}: none of {', '.join(SPLITS)} is in it")
    names: list[str] = []
    parts: list[bytes] = []
    with ThreadPoolExecutor() as pool, progress("packing", sum(map(len, found.values()))) as report:
        for split, listed in found.items():
            encoded = pool.map(partial(_encoded, side=side, quality=quality), [photo.path for photo in listed])
            for photo, content in zip(listed, encoded, strict=True):
                report(len(names) + 1)
                if content is not None:
                    names.append(f"{split}/{Path(photo.name).with_suffix('.webp')}")
                    parts.append(content)
    if len(set(names)) != len(names):
        raise DataError(f"{photos}: two photos of one folder differ in their suffix alone")
    _write(out, names, parts)
    return Counter(name.partition("/")[0] for name in names)


def unpack(file: Path, folder: Path) -> Counter[str]:
    """The pictures of a pack as FOLDER/SPLIT/CLASS/FILE.webp. Raises DataError when it did not arrive whole."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            data, ends, names = (
                archive["data"].tobytes(),
                archive["ends"].tolist(),
                archive["names"].tobytes().decode().split("\n"),
            )
            promised = str(archive["sha256"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{file}: no pack of photos: {error}") from error
    if hashlib.sha256(data).hexdigest() != promised:
        raise DataError(f"{file}: the pictures are not those that were packed; bring it anew")
    for parent in {str(Path(name).parent) for name in names}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for name, start, end in zip(names, [0, *ends], ends, strict=False):
        (folder / name).write_bytes(data[start:end])
    return Counter(name.partition("/")[0] for name in names)


def _encoded(path: Path, side: int, quality: int) -> bytes | None:
    try:
        square = Image.fromarray(load_square(path, side))
    except (ImageError, OSError) as error:
        say(f"left out: {path}: {error}")
        return None
    stream = io.BytesIO()
    square.save(stream, "WEBP", quality=quality, method=METHOD)
    return stream.getvalue()


def _write(out: Path, names: list[str], parts: list[bytes]) -> None:
    data = b"".join(parts)
    ends = np.cumsum([len(part) for part in parts])
    digest = hashlib.sha256(data).hexdigest()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial_file = out.with_name(f".{out.name}")
    with partial_file.open("wb") as file:
        np.savez(file, data=_bytes(data), ends=ends, names=_bytes("\n".join(names).encode()), sha256=np.array(digest))
    partial_file.replace(out)


def _bytes(content: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
