"""What is below: grass, road, sand, tiles, planks, water. Each: (rng, S) to (S, S, 3) float32 colours, 0 to 255."""

from collections.abc import Callable

import numpy as np

from train.synthetic.backdrops import leaf, over
from train.synthetic.chance import Rng, from_hsv, grey, happens, mixed, uniform
from train.synthetic.layer import Layer
from train.synthetic.textures import Floats, blended, noise, ramp, step, tiles, tinted


def grass(rng: Rng, side: int) -> Floats:
    """A lawn or a meadow with blades."""
    colour = from_hsv(uniform(rng, 0.16, 0.34), uniform(rng, 0.3, 0.75), uniform(rng, 0.3, 0.75))
    field = tinted(colour, 1 + 0.3 * noise(rng, side, 30, 12, octaves=3, fade=0.8))
    layer = Layer(side)
    for x, y, lean in rng.random((int(rng.integers(0, 140)), 3)):
        length = uniform(rng, 0.02, 0.07)
        layer.stroke(
            [(x, y), (x + (lean - 0.5) * length, y - length)], 0.004, mixed(colour, (210, 220, 120), float(lean) * 0.6)
        )
    return over(field, layer)


def road(rng: Rng, side: int) -> Floats:
    """Asphalt or concrete, sometimes with a painted line."""
    field = tinted(grey(rng, 0.25, 0.7), 1 + 0.08 * noise(rng, side, 60, octaves=2) + 0.06 * noise(rng, side, 4))
    if happens(rng, 0.5):
        return field
    layer, y, slope = Layer(side), uniform(rng, 0.5, 1), uniform(rng, -0.3, 0.3)
    layer.stroke([(-0.1, y), (1.1, y + slope)], uniform(rng, 0.015, 0.05), grey(rng, 0.75, 0.95))
    return over(field, layer)


def sand(rng: Rng, side: int) -> Floats:
    """Sand, earth or gravel."""
    colour = from_hsv(uniform(rng, 0.06, 0.13), uniform(rng, 0.15, 0.55), uniform(rng, 0.35, 0.9))
    return tinted(colour, 1 + 0.12 * noise(rng, side, 40, octaves=2, fade=0.9) + 0.08 * noise(rng, side, 6, 12))


def snow(rng: Rng, side: int) -> Floats:
    """Snow, faintly blue in its hollows."""
    return blended(
        ramp(side, (235, 238, 244), (246, 247, 250)), (190, 200, 220), 0.5 * step(noise(rng, side, 4, 9), 0, 1)
    )


def paving(rng: Rng, side: int) -> Floats:
    """Tiles or setts."""
    rows = uniform(rng, 8, 26)
    colour = from_hsv(uniform(rng, 0.02, 0.14), uniform(rng, 0, 0.4), uniform(rng, 0.35, 0.75))
    return tinted(
        colour,
        tiles(rng, side, rows * uniform(rng, 0.25, 0.5), rows, happens(rng, 0.6)) * (1 + 0.06 * noise(rng, side, 40)),
    )


def planks(rng: Rng, side: int) -> Floats:
    """A wooden floor or pier."""
    colour = from_hsv(uniform(rng, 0.05, 0.11), uniform(rng, 0.2, 0.65), uniform(rng, 0.3, 0.8))
    rows = uniform(rng, 8, 20)
    return tinted(
        colour, (2.1 - tiles(rng, side, 1.5, rows, True, 0.015)) * (1 + 0.08 * noise(rng, side, 4, 60, octaves=2))
    )


def litter(rng: Rng, side: int) -> Floats:
    """Fallen leaves on earth."""
    field, layer = sand(rng, side) * np.float32(0.7), Layer(side)
    for x, y, angle, tone in rng.random((int(rng.integers(40, 160)), 4)):
        colour = from_hsv(0.05 + 0.08 * float(tone), 0.6, 0.3 + 0.5 * float(tone))
        leaf(layer, (float(x), float(y)), uniform(rng, 0.02, 0.05), float(angle) * 360, colour)
    return over(field, layer)


def water(rng: Rng, side: int) -> Floats:
    """A lake or the sea: ripples flattened by distance."""
    colour = from_hsv(uniform(rng, 0.4, 0.64), uniform(rng, 0.1, 0.65), uniform(rng, 0.25, 0.8))
    ripples = noise(rng, side, uniform(rng, 3, 8), uniform(rng, 20, 45), octaves=3, fade=0.7)
    field = tinted(colour, 1 + np.float32(uniform(rng, 0.05, 0.25)) * ripples)
    return blended(field, grey(rng, 0.8, 1.0), step(ripples, 0.7, 1.3) * np.float32(uniform(rng, 0, 0.7)))


DRY: tuple[Callable[[Rng, int], Floats], ...] = (grass, grass, road, sand, snow, paving, planks, litter)
