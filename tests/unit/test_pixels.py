"""Odd files to the pixels that everyone else sees in them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.pixels import read_picture
from tests.pictures import encoded

pytestmark = pytest.mark.unit
ORIENTATION, SOFTWARE = 0x0112, 0x0131
SHORT, DOUBLE = 3, 12


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
