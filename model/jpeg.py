"""JPEG files: the quick way to the pixels of plain ones, and what is refused before it is decoded."""

import re
import struct
from typing import Final

import numpy as np
import numpy.typing as npt
import simplejpeg

MAX_SCANS: Final = 64
"""A progressive JPEG has about ten scans; thousands of empty ones over many pixels would decode for hours."""
QUICK_PIXELS: Final = 2**20
"""Larger pictures are left to Pillow, which need not hold them twice to resize them."""

_BEGIN: Final = b"\xff\xd8"
_SEGMENT: Final = struct.Struct(">HH")
"""Marker and length (ITU-T T.81, B.1.1.4)."""
_FRAME: Final = struct.Struct(">HHB")
"""Height, width and number of components (B.2.2)."""
_SEQUENTIAL: Final = (0xFFC0, 0xFFC1)
"""Frames in Huffman codes whose picture is whole with the first scan, if that has all components."""
_HARMLESS: Final = frozenset((0xFFC4, 0xFFDB, 0xFFDD, 0xFFE0, 0xFFE2, 0xFFED, 0xFFFE))
"""Tables, restart interval, JFIF, colour profile, Photoshop's data, comment: all that a plain file has besides. EXIF or
XMP may say that a picture is to be turned, and Adobe's segment that its colours are others."""
_START_OF_SCAN: Final = 0xFFDA
_COMPONENTS: Final = 3

_SCAN: Final = b"\xff\xda"
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Of a segment that says how long it is, and of the end (B.1.1.3)."""
_END: Final = b"\xff\xd9"


def quick_pixels(content: bytes, max_pixels: int) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) uint8 of a plain, whole JPEG of at most `max_pixels`: Pillow's, bit for bit, in less time.

    Plain is a sequential one of one scan, in colours, without orientation, of at most `QUICK_PIXELS`. None for any
    other file, and for a broken one: of these Pillow has the say.
    """
    try:
        height, width = _plain_size(content)
        if not 0 < height * width <= min(max_pixels, QUICK_PIXELS):
            return None
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(content)
    except (ValueError, IndexError, struct.error):  # also for what Pillow would forgive
        return None
    return pixels


def has_endless_scans(content: bytes) -> bool:
    """Whether a file is a JPEG of more than `MAX_SCANS` scans."""
    return content.startswith(_BEGIN) and _scans(content) > MAX_SCANS


def _plain_size(content: bytes) -> tuple[int, int]:
    """(H, W) by the head of a plain JPEG. Raises ValueError, IndexError or struct.error for any other file."""
    if not content.startswith(_BEGIN):
        raise ValueError("no JPEG")
    height = width = components = 0
    at = len(_BEGIN)
    while True:
        marker, length = _SEGMENT.unpack_from(content, at)
        if marker in _SEQUENTIAL:
            height, width, components = _FRAME.unpack_from(content, at + 5)
        elif marker == _START_OF_SCAN and content[at + 4] == components == _COMPONENTS:
            return height, width
        elif marker not in _HARMLESS:
            raise ValueError("no plain JPEG")
        at += 2 + length


def _scans(jpeg: bytes) -> int:
    """How many scans a decoder meets, or more while they are few; those in metadata or in a video behind are none."""
    if (most := jpeg.count(_SCAN)) <= MAX_SCANS:
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
