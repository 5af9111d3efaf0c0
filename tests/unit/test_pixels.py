"""Odd files to the pixels that everyone else sees in them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.errors import ImageError
from model.pixels import read_picture
from tests.pictures import encoded

pytestmark = pytest.mark.unit
ORIENTATION, SOFTWARE = 0x0112, 0x0131
SHORT, DOUBLE = 3, 12


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def png(depth: int, colour_type: int, row: bytes, *chunks: bytes) -> bytes:
    """Two pixels, one above the other, each a row of these bytes; what stands before them."""
    head = struct.pack(">LLBBBBB", 1, 2, depth, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of tag, type, count and value of four bytes."""
    directory = b"".join(struct.pack("<HHL4s", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(64)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_is_turned_as_pillow_turns_it(orientation, mode):
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, len(mode)), np.uint8)
    noise[..., 3:] = 255
    block = Image.Exif()
    block[ORIENTATION] = orientation
    file = encoded(noise, "PNG", exif=block)
    theirs = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
    assert theirs.size == ((5, 7) if orientation > 4 else (7, 5))
    assert np.array_equal(read_picture(file), theirs)


def test_odd_metadata_does_not_keep_a_picture_from_being_turned():
    block = exif((ORIENTATION, SHORT, 1, b"\6\0\0\0"), (SOFTWARE, DOUBLE, 1, struct.pack("<L", 46)))
    assert read_picture(encoded(Image.new("RGB", (60, 40)), "JPEG", exif=block)).size == (40, 60)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"Exif\0\0no TIFF, and long", b"Exif\0\0II*\0"])
def test_a_picture_with_broken_exif_is_as_it_is(kind, block):
    assert read_picture(encoded(Image.new("RGB", (8, 4)), kind, exif=block, dpi=(72, 72))).size == (8, 4)


@pytest.mark.parametrize(
    ("depth", "values"),
    [(1, (1,)), (2, (1,)), (4, (7,)), (8, (200,)), (16, (0x1234,)), (8, (1, 2, 3)), (16, (0x1234, 0x5678, 0x9ABC))],
)
def test_the_transparent_colour_of_a_png_of_any_depth_is_white(depth, values):
    shift = 8 - depth if depth < 8 else 0
    rows = [b"".join((value << shift).to_bytes(max(1, depth // 8)) for value in row) for row in (values, (0,) * 3)]
    colour = b"".join(value.to_bytes(2) for value in values)
    file = png(depth, 2 * (len(values) == 3), rows[0] + b"\0" + rows[1][: len(rows[0])], chunk(b"tRNS", colour))
    assert np.asarray(read_picture(file))[:, 0].tolist() == [[255, 255, 255], [0, 0, 0]]


def test_text_that_unpacks_to_much_memory_is_refused():
    megabyte = zlib.compress(bytes(2**20 - 4) + "\N{BIRD}".encode())
    text = [chunk(b"iTXt", b"%d\0\1\0\0\0" % number + megabyte) for number in range(9)]
    assert read_picture(png(8, 2, bytes(7), *text[:8])).size == (1, 2)
    with pytest.raises(ImageError, match="no readable PNG"):
        read_picture(png(8, 2, bytes(7), *text))


def test_endless_segments_before_the_pixels_are_refused():
    """Of 16 MB of them Pillow made 520 MB."""
    plain = encoded(Image.new("RGB", (1, 2)), "JPEG")
    segment = b"\xff\xe9\0\2"
    assert read_picture(plain[:2] + 1000 * segment + plain[2:]).size == (1, 2)
    with pytest.raises(ImageError, match="no readable PNG"):
        read_picture(plain[:2] + 50_000 * segment + plain[2:])
