"""The grid's values against those of the protocol, and its pictures against Pillow."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from attack.transforms.grid import CORNERS, DOCUMENTED, KIT, bordered, moved

pytestmark = pytest.mark.unit


def picture(side, seed=0):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def as_the_kit(pixels, angle, dx, dy, limit=0.15):
    """The kit's way: shrink, pad, and Pillow's affine transform with the matrix of torchvision 0.2."""
    side = len(pixels)
    padding = int(float(side) * limit)
    small = Image.fromarray(pixels).resize((side - 2 * padding,) * 2, Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(small, (padding, padding))
    centre = side * 0.5 + 0.5
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrix = [cosine, sine, 0.0, -sine, cosine, 0.0]
    matrix[2] = centre + cosine * (-centre - dx) + sine * (-centre - dy)
    matrix[5] = centre - sine * (-centre - dx) + cosine * (-centre - dy)
    moved_picture = canvas.transform(canvas.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(moved_picture)


def test_the_kits_values():
    assert KIT.angles_degrees == KIT.dxs_px == (-18, -9, 0, 9, 18)
    assert KIT.dys_px == tuple(range(-30, 31, 2))
    assert len(set(KIT.maps)) == 775
    assert KIT.maps[0] == (-18, -18, -30)
    assert KIT.maps[1] == (-18, -18, -28)


def test_the_documented_values():
    assert DOCUMENTED.angles_degrees == tuple(range(-30, 31, 2))
    assert DOCUMENTED.dxs_px == DOCUMENTED.dys_px == (-18, -9, 0, 9, 18)
    assert len(set(DOCUMENTED.maps)) == 775


def test_the_corners_are_maps_of_the_kit():
    assert len(CORNERS.maps) == 27
    assert set(CORNERS.maps) < set(KIT.maps)
    assert {(0, 0, 0), (-18, -18, -30), (18, 18, 30)} < set(CORNERS.maps)


def test_the_border():
    pixels = bordered(np.full((224, 224, 3), 200, np.uint8))
    assert (pixels[33:191, 33:191] == 200).all()
    assert pixels.sum() == 200 * 158 * 158 * 3
    assert bordered(np.full((64, 64, 3), 1, np.uint8)).sum() == 46 * 46 * 3


@pytest.mark.parametrize("grid", [KIT, DOCUMENTED], ids=["kit", "documented"])
def test_close_to_the_kits_own_pictures(grid):
    """How close: never more than a level off, and fewer than 5 values in a thousand are off at all."""
    pixels = picture(224)
    maps = grid.maps[::37]
    x = torch.from_numpy(bordered(pixels)).permute(2, 0, 1).float().expand(len(maps), -1, -1, -1) / 255
    ours = (moved(x, maps) * 255).round().permute(0, 2, 3, 1).numpy()
    theirs = np.stack([as_the_kit(pixels, *one) for one in maps]).astype(float)
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 5e-3


def test_exact_in_double_precision():
    pixels = picture(224)
    maps = KIT.maps[::111]
    x = torch.from_numpy(bordered(pixels)).permute(2, 0, 1).double().expand(len(maps), -1, -1, -1) / 255
    ours = (moved(x, maps) * 255).round().permute(0, 2, 3, 1).numpy()
    theirs = np.stack([as_the_kit(pixels, *one) for one in maps])
    assert (ours != theirs).mean() < 2e-3  # values just below a level, which the guard against rounding errors lifts


def test_shifts_scale_with_the_side():
    pixels = picture(112)
    x = torch.from_numpy(bordered(pixels)).permute(2, 0, 1).float()[None] / 255
    ours = (moved(x, [(0, 18, -30)]) * 255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - as_the_kit(pixels, 0, 9, -15).astype(float)).max() <= 1
