"""The pictures that a check sends: an organiser's clean photos, or patterns where none are given.

N pictures, S side in pixels.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.photos import Photo, find_photos
from model.pixels import Pixels, load_square

PATTERNS = 8
KEPT = 64
"""Pictures that are held as pixels, for the checks that need no truth."""
_OPTIONS: Final[dict[str, dict[str, Any]]] = {"PNG": {"compress_level": 0}, "WebP": {"lossless": True}}


@dataclass(frozen=True)
class Samples:
    """Pictures as pixels, and the photos behind them where there are any."""

    pixels: Pixels
    """uint8 (N, S, S, 3), N from 2."""
    photos: Sequence[Photo] = ()
    """The clean photos with their truth; empty when patterns stand in."""
    drawn: bool = False
    """Whether the photos are a draw of those given."""


def take_samples(images: Path | None, limit: int | None, side: int) -> Samples:
    """Photos from `images` (bicycle/ and bird/), or patterns. Raises DataError or ImageError for a bad folder."""
    if images is None:
        return Samples(patterns(side))
    photos, given = find_photos(images, limit), find_photos(images)
    kept = find_photos(images, min(KEPT, len(photos)))
    return Samples(np.stack([load_square(photo.path, side) for photo in kept]), photos, len(photos) < len(given))


def patterns(side: int) -> Pixels:
    """uint8 (8, S, S, 3): pictures of nothing, no two alike, the same each time."""
    return np.stack([_pattern(seed, side) for seed in range(PATTERNS)])


def image_file(pixels: Pixels, kind: str) -> bytes:
    """uint8 (H, W, 3) -> the bytes of a PNG, BMP, WebP or JPEG; all but the JPEG keep every pixel.

    The PNG is not compressed: pictures of one size make files of one length.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **_OPTIONS.get(kind, {}))
    return buffer.getvalue()


def numpy_file(array: npt.NDArray[Any]) -> bytes:
    """An array of any dtype -> the bytes of a .npy file, pickled where the dtype is object."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _pattern(seed: int, side: int) -> Pixels:
    """A disc before two colours and noise: nothing that has a right answer, but every pattern is another picture."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    weight = np.clip((x - y) * random.uniform(-2, 2) + 0.5, 0, 1)[..., None]
    ground = weight * random.uniform(0, 255, 3) + (1 - weight) * random.uniform(0, 255, 3)
    centre, radius = random.uniform(0.3, 0.7, 2), random.uniform(0.1, 0.3)
    inside = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2)[..., None]
    picture = np.where(inside, random.uniform(0, 255, 3), ground) + random.normal(0, 8, (side, side, 3))
    return picture.clip(0, 255).astype(np.uint8)
