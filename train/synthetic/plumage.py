"""Colours on a bird's skin: countershading, head marks, breast, and patterns of feathers. k points of the skin."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.synthetic.bird_coats import Coat
from train.synthetic.chance import Colour, Rng, lit
from train.synthetic.geometry import Points
from train.synthetic.solids import Surface


@dataclass(frozen=True)
class Marks:
    """Where things are on the bird: unit axes and places in space that its colours refer to."""

    up: Points
    forward: Points
    breast: Points
    breast_reach: float
    head: Points
    head_radius: float
    beak_axis: Points


def smooth_step(values: Points, low: float, high: float) -> Points:
    """0 below `low`, 1 above `high`, smooth between (a cubic)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def skin(coat: Coat, marks: Marks, rng: Rng) -> Surface:
    """Body, neck and head of a bird in this coat."""
    waves = rng.uniform(0, 2 * np.pi, 6)
    crown = np.cross(np.cross(marks.beak_axis, marks.up), marks.beak_axis)

    def surface(position: Points, normal: Points) -> Points:
        back = smooth_step(normal @ marks.up + 0.15 * (position - marks.breast) @ marks.up, -0.1, 0.35)
        colours = _blend(np.full((len(position), 3), coat.belly, dtype=np.float64), coat.back, back)
        colours *= _pattern(coat.pattern, position, marks, waves, back)[:, None]
        near = np.linalg.norm(position - marks.breast, axis=1) / marks.breast_reach
        colours = _blend(colours, coat.breast, (1 - smooth_step(near, 0.8, 1.05)) * (1 - back))
        colours = _head(colours, coat, (position - marks.head) / marks.head_radius, marks.beak_axis, crown)
        return colours * _down(position, waves)[:, None]

    return surface


def feathered(
    colour: Colour, tip: Colour | None, bar: Colour | None, root: Points, axis: Points, length: float
) -> Surface:
    """A folded wing or a tail along `axis` from `root`: feather edges, a bar, a tip of another colour."""
    across = np.cross(axis, (0.0, 0.0, 1.0))

    def surface(position: Points, _normal: Points) -> Points:
        along = (position - root) @ axis / length
        side = (position - root) @ across
        colours = np.full((len(position), 3), colour, dtype=np.float64)
        colours = _blend(colours, tip, smooth_step(along + 0.8 * side, 0.55, 0.7))
        for place in (0.3, 0.47):
            colours = _blend(colours, bar, 1 - smooth_step(np.abs(along + 0.5 * side - place), 0.025, 0.045))
        edges = 1 - 0.28 * smooth_step(np.sin(70 * (side + 0.12 * along)), 0.5, 0.95) * smooth_step(along, 0.2, 0.4)
        scales = 1 - 0.13 * smooth_step(np.sin(60 * along) * np.sin(45 * side), 0.2, 0.8) * (along < 0.4)
        return colours * (edges * scales)[:, None]

    return surface


def two_tone(colour: Colour, tip: Colour | None, root: Points, length: float, share: float = 0.62) -> Surface:
    """A beak: `colour`, and `tip` beyond `share` of its length."""

    def surface(position: Points, _normal: Points) -> Points:
        colours = np.full((len(position), 3), colour, dtype=np.float64)
        return _blend(colours, tip, smooth_step(np.linalg.norm(position - root, axis=1) / length, share, share + 0.06))

    return surface


def _blend(colours: Points, other: Colour | None, share: npt.NDArray[np.float64]) -> Points:
    if other is None:
        return colours
    return colours + (np.array(other, dtype=np.float64) - colours) * share[:, None]


def _head(colours: Points, coat: Coat, place: Points, beak: Points, crown: Points) -> Points:
    """`place`: position from the middle of the head in head radii."""
    ahead, above = place @ beak, place @ crown
    within = 1 - smooth_step(np.linalg.norm(place, axis=1), 1.15, 1.4)
    colours = _blend(colours, coat.head, within)
    colours = _blend(colours, coat.cap, within * smooth_step(above - 0.15 * ahead, 0.38, 0.5))
    below = smooth_step(-above, 0.15, 0.35) * smooth_step(ahead, -0.4, -0.1)
    colours = _blend(colours, coat.throat, below * (1 - smooth_step(np.linalg.norm(place, axis=1), 1.5, 1.8)))
    band = 1 - smooth_step(np.abs(above - 0.12), 0.2, 0.3)
    return _blend(colours, coat.mask, within * band * smooth_step(ahead, -0.35, -0.1))


def _pattern(pattern: str, position: Points, marks: Marks, waves: Points, back: Points) -> Points:
    """Brightness (k,) of streaks, spots or bars, mostly where the bird is pale."""
    if pattern == "plain":
        return np.ones(len(position))
    long, tall, side = position @ marks.forward, position @ marks.up, position[:, 2]
    if pattern == "barred":
        ink = np.sin(62 * long + 6 * np.sin(9 * tall + waves[0]))
    elif pattern == "streaked":
        ink = np.sin(48 * tall + 30 * side + 2 * np.sin(14 * long)) * np.sin(17 * long + 25 * tall + waves[1])
    else:
        ink = np.sin(38 * long + 15 * side + waves[2]) * np.sin(42 * tall + 12 * long + waves[3])
    return 1 - 0.5 * smooth_step(ink, 0.25, 0.6) * (1 - 0.55 * back)


def _down(position: Points, waves: Points) -> Points:
    """A fine brightness texture (k,)."""
    x, y, z = position.T
    fine = np.sin(90 * x + 40 * y + waves[4]) * np.sin(75 * y - 50 * z + waves[5])
    coarse = np.sin(13 * x + 8 * z + waves[0]) * np.sin(11 * y + waves[1])
    edges = smooth_step(np.sin(52 * x + 20 * z + 3 * np.sin(21 * y)) * np.sin(48 * y + 26 * z), 0.1, 0.7)
    brightness: Points = 1 + 0.09 * fine + 0.08 * coarse - 0.16 * edges
    return brightness


def darker(colour: Colour) -> Colour:
    """The shade that a part takes where the coat names no colour of its own."""
    return lit(colour, 0.8)
