"""What is behind: sky, leaves, walls, houses, rooms. Each: (rng, S) to (S, S, 3) float32 colours, 0 to 255."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from train.synthetic.chance import Colour, Rng, from_hsv, grey, happens, lit, mixed, pick, uniform
from train.synthetic.layer import Layer
from train.synthetic.textures import Floats, blended, noise, ramp, step, tiles, tinted


def sky(rng: Rng, side: int) -> Floats:
    """Clear to cloudy, day to dusk."""
    top = from_hsv(uniform(rng, 0.54, 0.62), uniform(rng, 0.1, 0.75), uniform(rng, 0.5, 0.95))
    low = mixed(top, (240, 240, 240), uniform(rng, 0.3, 0.9))
    if happens(rng, 0.15):
        low = from_hsv(uniform(rng, 0.02, 0.12), uniform(rng, 0.3, 0.7), uniform(rng, 0.75, 1))
    clouds = step(noise(rng, side, uniform(rng, 1.5, 4), octaves=4), uniform(rng, -0.3, 0.6), 1.0)
    return blended(ramp(side, top, low), grey(rng, 0.75, 1.0), clouds * np.float32(uniform(rng, 0, 0.9)))


def leaves(rng: Rng, side: int) -> Floats:
    """Foliage near by: noise in greens (or autumn) with single leaves over it."""
    hue = uniform(rng, 0.2, 0.36) if happens(rng, 0.8) else uniform(rng, 0.06, 0.16)
    dark = from_hsv(hue, uniform(rng, 0.4, 0.8), uniform(rng, 0.12, 0.4))
    bright = from_hsv(hue - 0.03, uniform(rng, 0.3, 0.7), uniform(rng, 0.5, 0.9))
    field = blended(
        ramp(side, dark, dark), bright, step(noise(rng, side, uniform(rng, 3, 9), octaves=4, fade=0.7), -0.8, 1.2)
    )
    if happens(rng, 0.4):
        return field
    layer = Layer(side)
    for x, y, angle, tone in rng.random((int(rng.integers(30, 110)), 4)):
        leaf(
            layer, (float(x), float(y)), uniform(rng, 0.03, 0.09), float(angle) * 360, mixed(dark, bright, float(tone))
        )
    return over(field, layer)


def leaf(layer: Layer, at: tuple[float, float], length: float, degrees: float, colour: Colour) -> None:
    """One pointed leaf from `at`."""
    t = np.array([0, 0.25, 0.55, 0.8, 1, 0.8, 0.55, 0.25])
    w = np.array([0, 0.2, 0.26, 0.14, 0, -0.14, -0.26, -0.2])
    angle = np.deg2rad(degrees)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    layer.polygon(np.array(at) + length * (t[:, None] * along + w[:, None] * across), colour)


def over(field: Floats, layer: Layer) -> Floats:
    """A layer on top of a field of colours."""
    picture = Image.fromarray(field.clip(0, 255).astype(np.uint8))
    picture.paste(layer.image, (0, 0), layer.image)
    return np.asarray(picture).astype(np.float32)


def bricks(rng: Rng, side: int) -> Floats:
    """A wall of bricks or stone blocks."""
    colour = pick(rng, ((150, 75, 55), (125, 60, 48), (170, 130, 95), (140, 138, 132), (195, 190, 180)))
    rows = uniform(rng, 8, 20)
    bond = tiles(rng, side, rows * uniform(rng, 0.35, 0.6), rows, True) * (1 + 0.08 * noise(rng, side, 30, octaves=2))
    return tinted(colour, bond * np.float32(uniform(rng, 0.7, 1.1)))


def plaster(rng: Rng, side: int) -> Floats:
    """A painted wall, even or stained."""
    colour = from_hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.45), uniform(rng, 0.35, 0.98))
    return tinted(colour, 1 + np.float32(uniform(rng, 0.01, 0.12)) * noise(rng, side, uniform(rng, 2, 6), octaves=4))


def boards(rng: Rng, side: int) -> Floats:
    """Upright planks or a rolling shutter."""
    colour = from_hsv(uniform(rng, 0.04, 0.12), uniform(rng, 0.1, 0.6), uniform(rng, 0.3, 0.85))
    grain = 1 + 0.1 * noise(rng, side, 40, 3, octaves=2)
    if happens(rng, 0.5):
        return tinted(colour, tiles(rng, side, uniform(rng, 5, 14), 0.2, False, 0.07).clip(0, 1.1) * grain)
    return tinted(grey(rng, 0.4, 0.9), tiles(rng, side, 0.2, uniform(rng, 8, 22), False, 0.002) * grain.T)


def houses(rng: Rng, side: int) -> Floats:
    """A row of fronts with windows and doors, sky above some."""
    field, layer, left = sky(rng, side), Layer(side), uniform(rng, -0.3, 0)
    while left < 1:
        width, top = uniform(rng, 0.25, 0.6), uniform(rng, -0.3, 0.35)
        colour = from_hsv(uniform(rng, 0, 0.15), uniform(rng, 0.05, 0.5), uniform(rng, 0.35, 0.9))
        layer.polygon(_box(left, top, width, 1.5), colour)
        _windows(rng, layer, left, top, width, colour)
        left += width
    return over(field, layer) * (1 + 0.05 * noise(rng, side, 12, octaves=3))[:, :, None]


def _windows(rng: Rng, layer: Layer, left: float, top: float, width: float, wall: Colour) -> None:
    columns, pitch = int(rng.integers(2, 5)), uniform(rng, 0.14, 0.24)
    glass, frame = mixed(wall, grey(rng, 0.15, 0.6), uniform(rng, 0.3, 0.8)), lit(wall, pick(rng, (0.6, 1.35)))
    cell = width / columns
    for row in range(8):
        for column in range(columns):
            x, y = left + (column + 0.25) * cell, top + 0.05 + row * pitch
            layer.polygon(_box(x - 0.008, y - 0.008, 0.5 * cell + 0.016, 0.62 * pitch + 0.016), frame)
            layer.polygon(_box(x, y, 0.5 * cell, 0.62 * pitch), glass)


def _box(left: float, top: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def trees(rng: Rng, side: int) -> Floats:
    """Sky behind a dark or misty line of trees or hills."""
    field, layer = sky(rng, side), Layer(side)
    for depth in range(int(rng.integers(1, 4))):
        colour = from_hsv(uniform(rng, 0.22, 0.45), uniform(rng, 0.1, 0.6), uniform(rng, 0.2, 0.6) - 0.05 * depth)
        height = uniform(rng, 0.1, 0.6) + 0.12 * depth
        x = np.linspace(-0.05, 1.05, 60)
        wave = np.sin(x * uniform(rng, 2, 9) + uniform(rng, 0, 6)) * uniform(rng, 0.02, 0.12)
        line = height + wave + rng.normal(0, uniform(rng, 0, 0.02), 60)
        layer.polygon([*zip(x, line, strict=True), (1.1, 1.5), (-0.1, 1.5)], colour)
    return over(field, layer) * (1 + 0.12 * noise(rng, side, 25, octaves=2))[:, :, None]


def forest(rng: Rng, side: int) -> Floats:
    """Trunks before leaves."""
    field, layer = leaves(rng, side), Layer(side)
    bark = from_hsv(uniform(rng, 0.05, 0.12), uniform(rng, 0.1, 0.5), uniform(rng, 0.15, 0.6))
    for _ in range(int(rng.integers(3, 10))):
        x, lean = uniform(rng, 0, 1), uniform(rng, -0.08, 0.08)
        layer.stroke([(x, -0.1), (x + lean, 1.1)], uniform(rng, 0.015, 0.1), lit(bark, uniform(rng, 0.6, 1.3)))
    return over(field, layer)


def room(rng: Rng, side: int) -> Floats:
    """A wall indoors with pictures, a window, a shelf."""
    field, layer = plaster(rng, side), Layer(side)
    for _ in range(int(rng.integers(0, 5))):
        x, y, width, height = (
            uniform(rng, -0.1, 0.9),
            uniform(rng, -0.1, 0.5),
            uniform(rng, 0.1, 0.4),
            uniform(rng, 0.1, 0.4),
        )
        layer.polygon(_box(x - 0.015, y - 0.015, width + 0.03, height + 0.03), grey(rng, 0.1, 0.95))
        layer.polygon(
            _box(x, y, width, height), from_hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.6), uniform(rng, 0.2, 0.95))
        )
    if happens(rng, 0.4):
        y = uniform(rng, 0.1, 0.6)
        layer.stroke([(-0.1, y), (1.1, y)], uniform(rng, 0.01, 0.04), from_hsv(0.08, 0.4, uniform(rng, 0.3, 0.8)))
    return over(field, layer)


def studio(rng: Rng, side: int) -> Floats:
    """Paper: white, grey or coloured, evenly lit or falling off."""
    colour = (
        (250, 250, 250)
        if happens(rng, 0.6)
        else from_hsv(uniform(rng, 0, 1), uniform(rng, 0, 0.5), uniform(rng, 0.4, 1))
    )
    return ramp(side, colour, lit(colour, uniform(rng, 0.85, 1.0)), 2)


def blur_of_lights(rng: Rng, side: int) -> Floats:
    """A far background out of focus: soft patches of any colour."""
    fields = [from_hsv(uniform(rng, 0, 1) * 0.45, uniform(rng, 0.1, 0.7), uniform(rng, 0.1, 0.8)) for _ in range(3)]
    picture = blended(ramp(side, fields[0], fields[1]), fields[2], step(noise(rng, side, 3, octaves=1), -0.6, 0.8))
    layer = Layer(side)
    for x, y, tone in rng.random((int(rng.integers(0, 25)), 3)):
        layer.disc((x, y), uniform(rng, 0.02, 0.07), mixed(fields[1], (250, 245, 220), float(tone)))
    return over(picture, layer)


BACKDROPS: tuple[Callable[[Rng, int], Floats], ...] = (
    sky,
    leaves,
    leaves,
    bricks,
    plaster,
    boards,
    houses,
    trees,
    forest,
    room,
    blur_of_lights,
)
