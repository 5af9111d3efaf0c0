"""Plain JPEGs on the quick way: the pixels of Pillow, and Pillow's say over all others."""

import numpy as np
import pytest
from PIL import Image

from model import jpeg
from model.errors import ImageError
from model.jpeg import quick_pixels
from model.pixels import load_square, read_picture
from tests.pictures import encoded

pytestmark = pytest.mark.unit


def picture(rng: np.random.Generator) -> Image.Image:
    """Smooth shapes and grain, of any size."""
    size = tuple(rng.integers(1, 70, 2).tolist())
    coarse = Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 9, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))


def any_jpeg(rng: np.random.Generator) -> bytes:
    options = {"quality": int(rng.integers(1, 101)), "subsampling": int(rng.integers(0, 3))}
    if rng.random() < 0.3:
        options["restart_marker_blocks"] = int(rng.integers(1, 5))
    return encoded(picture(rng), "JPEG", **options)


def spoilt(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, or with some bytes altered, taken out or put in; the head is small, and gets its share."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, len(damaged) if rng.random() < 0.7 else min(700, len(damaged))))
        few = rng.bytes(int(rng.integers(1, 9)))
        kind = rng.integers(0, 4)
        if kind == 0:
            damaged[place : place + len(few)] = few
        elif kind == 1:
            damaged[place:place] = few
        elif kind == 2:
            del damaged[place : place + len(few)]
        else:
            del damaged[place + 2 :]
    return bytes(damaged)


def test_the_pixels_are_those_of_pillow_bit_for_bit():
    rng = np.random.default_rng(0)
    for content in (any_jpeg(rng) for _ in range(100)):
        pixels = quick_pixels(content, 10**6)
        assert pixels is not None
        assert np.array_equal(pixels, np.asarray(read_picture(content)))


def test_of_a_broken_file_nothing_is_taken_that_pillow_refuses_or_sees_otherwise():
    rng = np.random.default_rng(1)
    taken = refused = 0
    for content in (spoilt(any_jpeg(rng), rng) for _ in range(500)):
        pixels = quick_pixels(content, 10**6)
        try:
            theirs = np.asarray(read_picture(content))
        except ImageError:
            theirs = None
            refused += 1
        if pixels is not None:
            assert theirs is not None
            assert np.array_equal(pixels, theirs)
            taken += 1
    assert min(taken, refused) > 30


def test_others_are_left_to_pillow(monkeypatch):
    image = picture(np.random.default_rng(2)).resize((20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    left = [encoded(image.convert(mode), "JPEG") for mode in ("L", "CMYK")]
    left += [encoded(image, "JPEG", exif=exif), encoded(image, "JPEG", progressive=True), b"", b"\xff\xd8"]
    assert all(quick_pixels(content, 10**6) is None for content in left)
    assert quick_pixels(encoded(image, "JPEG"), 599) is None
    monkeypatch.setattr(jpeg, "QUICK_PIXELS", 599)
    assert quick_pixels(encoded(image, "JPEG"), 600) is None
    monkeypatch.setattr(jpeg, "QUICK_PIXELS", 600)
    assert quick_pixels(encoded(image, "JPEG"), 600) is not None


def test_a_square_is_the_same_on_both_ways(monkeypatch):
    rng = np.random.default_rng(3)
    contents = [any_jpeg(rng) for _ in range(20)]
    quick = [load_square(content, 24) for content in contents]
    monkeypatch.setattr("model.pixels.quick_pixels", lambda *_: None)
    assert all(np.array_equal(load_square(content, 24), one) for content, one in zip(contents, quick, strict=True))
