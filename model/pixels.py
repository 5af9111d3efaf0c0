"""Any picture to the uint8 square that is classified. H height, W width, S side of the square."""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from model.errors import ImageError, ImageShapeError, ImageTooLargeError

Pixels = npt.NDArray[np.uint8]

RESIZE_RULE: Final = (
    "EXIF orientation applied; RGB, transparency over white; shorter side to S (Pillow bilinear, antialiased), "
    "longer side int(S * longer / shorter), then centre crop to S x S; an S x S picture stays as it is"
)
FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS: Final = 40_000_000
"""Pictures with more pixels are refused before they are decoded (a decompression bomb is a few kilobytes)."""
MAX_BYTES: Final = 2**28
"""Larger files are not read: no picture of so many pixels, 8 bits a channel, has more, and a file of holes any size."""
MAX_JPEG_SCANS: Final = 64
"""A progressive JPEG has about ten scans; thousands of empty ones over many pixels would decode for hours."""
MAX_ASPECT: Final = 50
"""Pictures whose sides differ more are refused: a 20,000 x 1 line would be resized to gigabytes."""

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is stricter, and raises rather than warns

_SCAN: Final = b"\xff\xda"
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Of a segment that says how long it is, and of the end (ITU-T T.81, B.1.1.3)."""
_END: Final = b"\xff\xd9"


def read_content(path: Path) -> bytes:
    """The bytes of a picture's file. Raises OSError, and ImageError for more than `MAX_BYTES`."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ImageError(f"the file has {size} bytes; at most {MAX_BYTES} are read")
    return path.read_bytes()


def read_picture(source: bytes | Path, max_pixels: int = MAX_PIXELS, *, upright: bool = True) -> Image.Image:
    """Decode a PNG, JPEG, WebP or BMP into an RGB picture; the first frame of an animation.

    `upright`: whether an EXIF orientation is applied.
    Raises ImageError for anything else, for a truncated file, for more than `max_pixels` pixels, and for a JPEG of more
    than `MAX_JPEG_SCANS` scans.
    """
    name = str(source) if isinstance(source, Path) else "the picture"
    with _hostile_decoder(name):
        content = read_content(source) if isinstance(source, Path) else source
        if content.startswith(b"\xff\xd8") and _scans(content) > MAX_JPEG_SCANS:
            raise ImageError(f"{name} has more than {MAX_JPEG_SCANS} scans")
        return _decode(name, io.BytesIO(content), max_pixels, upright)


def _decode(name: str, stream: io.BytesIO, max_pixels: int, upright: bool) -> Image.Image:
    with Image.open(stream, formats=FORMATS) as picture:
        if (pixels := picture.width * picture.height) > max_pixels:
            line = f"{name} has {picture.width} x {picture.height} pixels; at most {max_pixels} are read"
            raise ImageTooLargeError(line, pixels)
        if upright:
            ImageOps.exif_transpose(picture, in_place=True)
        picture.load()
        return _to_rgb(picture)


def to_square(picture: Image.Image | Pixels, size: int) -> Pixels:
    """A picture, or (H, W, 3) uint8 pixels -> (size, size, 3) uint8 pixels by `RESIZE_RULE`.

    Equals torchvision's `Resize(size)` and `CenterCrop(size)` on a Pillow picture, which the challenge's kit ran.
    A picture of size x size comes out bit for bit. Raises ImageError if one side is over `MAX_ASPECT` times the other.
    """
    if isinstance(picture, np.ndarray):
        if picture.shape[:2] == (size, size):
            return picture
        picture = Image.fromarray(picture)
    width, height = picture.size
    if (width, height) == (size, size):
        return np.asarray(picture, dtype=np.uint8)
    shorter, longer = sorted((width, height))
    if longer > MAX_ASPECT * shorter:
        raise ImageShapeError(
            f"the picture is {width} x {height}; one side may be at most {MAX_ASPECT} times the other"
        )
    resized = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    left, top = (round((side - size) / 2) for side in resized)
    square = picture.resize(resized, Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return np.asarray(square, dtype=np.uint8)


def load_square(source: bytes | Path, size: int, max_pixels: int = MAX_PIXELS) -> Pixels:
    """`read_picture`, then `to_square`: (size, size, 3) uint8."""
    return to_square(read_picture(source, max_pixels), size)


def pixels_sha256(pixels: Pixels) -> str:
    """The hex SHA-256 of (H, W, 3) uint8 pixels, row by row, RGB interleaved."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data.cast("B")).hexdigest()


def _scans(jpeg: bytes) -> int:
    """How many scans a decoder meets, or more while they are few; those in metadata or in a video behind are none."""
    if (most := jpeg.count(_SCAN)) <= MAX_JPEG_SCANS:
        return most
    scans, at = 0, 0
    while marker := _MARKER.search(jpeg, at):
        at = marker.end()
        if marker[0] != _END:
            scans += marker[0] == _SCAN
            at += int.from_bytes(jpeg[at : at + 2])
        elif scans:  # an end before the first scan is that of tables alone, and the picture follows
            break
    return scans


def _to_rgb(picture: Image.Image) -> Image.Image:
    """RGB; transparency over white; 16-bit grey scaled to 8 bit rather than clipped."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        grey = np.asarray(picture, dtype=np.uint32) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@contextmanager
def _hostile_decoder(name: str) -> Iterator[None]:
    """Turn whatever a decoder throws at a broken or hostile file into one ImageError."""
    try:
        yield
    except ImageError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ImageError(f"{name}: {error.strerror}") from error
    except Exception as error:  # decoders raise SyntaxError, struct.error, MemoryError and more
        raise ImageError(f"{name} is no readable PNG, JPEG, WebP or BMP picture") from error
