"""Random draws in the words of a scene: a number in a range, a yes or no, one of several, a nearby colour."""

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Rng = np.random.Generator
Colour = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""
T = TypeVar("T")


def uniform(rng: Rng, low: float, high: float) -> float:
    """A number between `low` and `high`."""
    return float(rng.uniform(low, high))


def happens(rng: Rng, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """One of the choices, each as likely as the other."""
    return choices[int(rng.integers(len(choices)))]


def jitter(rng: Rng, colour: Colour, amount: float = 0.08) -> Colour:
    """A colour near `colour`: hue, saturation and value move by up to `amount`."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    moved = (
        hue + uniform(rng, -amount, amount) / 2,
        saturation + uniform(rng, -amount, amount),
        value + uniform(rng, -amount, amount) * 1.5,
    )
    return from_hsv(*moved)


def vivid(rng: Rng) -> Colour:
    """A strong colour of any hue: paint, cloth, tropical feathers."""
    return from_hsv(uniform(rng, 0, 1), uniform(rng, 0.6, 1), uniform(rng, 0.45, 1))


def grey(rng: Rng, low: float, high: float) -> Colour:
    """A nearly neutral colour whose value lies in [low, high] of [0, 1]."""
    return from_hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.1), uniform(rng, low, high))


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """Hue (wraps), saturation and value (clipped to [0, 1]) to a colour."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(255 * red), round(255 * green), round(255 * blue)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` (0 to 1) of `second` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def lit(colour: Colour, factor: float) -> Colour:
    """A colour times a brightness factor, clipped at white."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue
