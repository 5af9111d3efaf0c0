"""Noise and textured surfaces. S side of the picture in pixels; colours are (S, S, 3) float32, 0 to 255."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from train.synthetic.chance import Colour, Rng, uniform

Floats = npt.NDArray[np.float32]


def noise(
    rng: Rng, side: int, across: float, down: float | None = None, octaves: int = 3, fade: float = 0.55
) -> Floats:
    """Smooth noise (S, S), about -1 to 1: `across` by `down` cells, each octave twice as fine and `fade` as strong."""
    total = np.zeros((side, side), dtype=np.float32)
    strength, sum_of_squares = 1.0, 0.0
    for octave in range(octaves):
        columns, rows = (min(side, max(2, round(cells * 2**octave))) for cells in (across, down or across))
        grid = rng.standard_normal((rows + 1, columns + 1), dtype=np.float32)
        smooth = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
        total += np.float32(strength) * np.asarray(smooth)
        sum_of_squares += strength**2
        strength *= fade
    return total / np.float32(1.6 * np.sqrt(sum_of_squares))


def ramp(side: int, first: Colour, last: Colour, power: float = 1.0) -> Floats:
    """A vertical gradient from `first` at the top to `last` at the bottom."""
    t = np.linspace(0, 1, side, dtype=np.float32)[:, None, None] ** np.float32(power)
    low, high = np.array(first, dtype=np.float32), np.array(last, dtype=np.float32)
    return np.broadcast_to(low + (high - low) * t, (side, side, 3)).copy()


def tinted(colour: Colour, brightness: Floats) -> Floats:
    """A colour under a brightness factor (S, S)."""
    return np.array(colour, dtype=np.float32) * brightness[:, :, None]


def blended(first: Floats, second: Floats | Colour, share: Floats) -> Floats:
    """`first` with `share` (S, S) of `second`."""
    return first + (np.asarray(second, dtype=np.float32) - first) * share[:, :, None]


def step(values: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, linear between."""
    rising: Floats = (values - np.float32(low)) / np.float32(high - low)
    return rising.clip(0, 1)


def tiles(rng: Rng, side: int, columns: float, rows: float, shifted: bool, joint: float = 0.08) -> Floats:
    """Brightness (S, S) of a bond of bricks or tiles, each of its own tone; `shifted`: every other row by a half."""
    y = np.arange(side, dtype=np.float32)[:, None] / side * rows + uniform(rng, 0, 1)
    row = np.floor(y).astype(int)
    x = np.arange(side, dtype=np.float32)[None, :] / side * columns + (0.5 * (row % 2) if shifted else 0)
    tones = 1 + 0.13 * rng.standard_normal((64, 64), dtype=np.float32)
    joints = ((x % 1) < joint) | ((y % 1) < joint * rows / columns)
    stones: Floats = tones[row % 64, np.floor(x).astype(int) % 64]
    return np.where(joints, np.float32(1.3), stones)
