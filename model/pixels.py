"""Any picture to the uint8 square that is classified. H height, W width, S side of the square."""

import contextlib
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, PngImagePlugin

from model.errors import ImageError, ImageShapeError, ImageTooLargeError, UserError
from model.files import read_bounded
from model.jpeg import MAX_SCANS, has_endless_scans, quick_pixels

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
MAX_READS: Final = 2**16
"""Parts of a file that a decoder may read before the pixels: of millions of empty segments each takes memory."""
MAX_ASPECT: Final = 50
"""Pictures whose sides differ more are refused: a 20,000 x 1 line would be resized to gigabytes."""
THE_PICTURE: Final = "the picture"
"""What messages call one that is no file."""
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation. Pillow's `exif_transpose` also writes EXIF anew, and fails at what can only be read."""
STRIP_PIXELS: Final = 2**18
"""About so many pixels at once are brought to RGB."""

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is stricter, and raises rather than warns
PngImagePlugin.MAX_TEXT_MEMORY = 2**23  # characters of four bytes; at Pillow's own 2**26 a pixel in 70 KB takes 256 MB


def read_content(path: Path) -> bytes:
    """The bytes of a picture's file. Raises OSError, and ImageError for no regular file or more than `MAX_BYTES`."""
    try:
        return read_bounded(path, MAX_BYTES)
    except UserError as error:
        raise ImageError(f"the file {error}") from error


def read_picture(source: bytes | Path, max_pixels: int = MAX_PIXELS, *, upright: bool = True) -> Image.Image:
    """Decode a PNG, JPEG, WebP or BMP into an RGB picture; the first frame of an animation.

    `upright`: whether an EXIF orientation is applied.
    Raises ImageError for anything else, for a truncated file, for more than `max_pixels` pixels, and for a JPEG of more
    than `model.jpeg.MAX_SCANS` scans.
    """
    name = _name(source)
    return _decode(name, _content(name, source), max_pixels, upright)


def _name(source: bytes | Path) -> str:
    """What messages call a picture."""
    return str(source) if isinstance(source, Path) else THE_PICTURE


def _content(name: str, source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source
    with _hostile_decoder(name):
        try:
            return read_content(source)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error


class _Opening(io.BytesIO):
    """A picture's file, of which no more than `MAX_READS` parts are read before it `is_open`."""

    reads, is_open = 0, False

    def read(self, size: int | None = -1) -> bytes:
        """See io.BytesIO."""
        self.reads += 1
        if self.reads > MAX_READS and not self.is_open:
            raise OSError("no picture begins here")
        return super().read(size)


def _decode(name: str, content: bytes, max_pixels: int, upright: bool) -> Image.Image:
    if has_endless_scans(content):
        raise ImageError(f"{name} has more than {MAX_SCANS} scans")
    file = _Opening(content)
    with _hostile_decoder(name), Image.open(file, formats=FORMATS) as picture:
        file.is_open = True
        if (pixels := picture.width * picture.height) > max_pixels:
            line = f"{name} has {picture.width} x {picture.height} pixels; at most {max_pixels} are read"
            raise ImageTooLargeError(line, pixels)
        _scale_transparent_colour(picture)
        picture.load()
        turn = _turn(picture) if upright else None
        rgb = _to_rgb(picture)
    return rgb if turn is None else rgb.transpose(turn)


def to_square(picture: Image.Image | Pixels, size: int, name: str = THE_PICTURE) -> Pixels:
    """A picture, or (H, W, 3) uint8 pixels -> (size, size, 3) uint8 pixels by `RESIZE_RULE`.

    Equals torchvision's `Resize(size)` and `CenterCrop(size)` on a Pillow picture, which the challenge's kit ran.
    A picture of size x size comes out bit for bit. Raises ImageError, which calls it `name`, if one side is over
    `MAX_ASPECT` times the other.
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
        raise ImageShapeError(f"{name} is {width} x {height}; one side may be at most {MAX_ASPECT} times the other")
    resized = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    left, top = (round((side - size) / 2) for side in resized)
    square = picture.resize(resized, Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return np.asarray(square, dtype=np.uint8)


def load_square(source: bytes | Path, size: int, max_pixels: int = MAX_PIXELS) -> Pixels:
    """`read_picture`, then `to_square`: (size, size, 3) uint8. Plain JPEGs take a quicker way to the same."""
    name = _name(source)
    content = _content(name, source)
    pixels = quick_pixels(content, max_pixels)
    return to_square(_decode(name, content, max_pixels, upright=True) if pixels is None else pixels, size, name)


def pixels_sha256(pixels: Pixels) -> str:
    """The hex SHA-256 of (H, W, 3) uint8 pixels, row by row, RGB interleaved."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data.cast("B")).hexdigest()


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What brings a picture upright; nothing where EXIF is missing, or so broken that it says nothing."""
    with contextlib.suppress(Exception):  # of the decoder: SyntaxError, struct.error and more
        return TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def _scale_transparent_colour(picture: ImageFile.ImageFile) -> None:
    """Bring the colour that a PNG calls transparent to 8 bits, as its pixels will be: Pillow keeps the file's depth."""
    colour, raw_mode = picture.info.get("transparency"), picture.tile[0].args if picture.tile else None
    if colour is not None and raw_mode in ("L;2", "L;4"):
        picture.info["transparency"] = colour * (85 if raw_mode == "L;2" else 17)
    elif colour is not None and raw_mode == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in colour)


def _to_rgb(picture: Image.Image) -> Image.Image:
    """RGB; transparency over white; 16-bit grey scaled to 8 bit rather than clipped.

    Strip by strip: on its way a transparent picture is held four times more, which is too much of a large one.
    """
    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    rgb = Image.new("RGB", picture.size)
    rows = max(STRIP_PIXELS // picture.width, 1)
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        rgb.paste(_strip_to_rgb(strip), (0, top))
    return rgb


def _strip_to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode == "I":
        grey = np.asarray(picture, dtype=np.uint32)
        clear = grey == picture.info.get("transparency", -1)
        return Image.fromarray(np.where(clear, 255, grey >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


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
