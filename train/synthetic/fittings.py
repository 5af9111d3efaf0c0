"""What is fitted to a frame: bars, saddle, fenders, basket, rack, stand. Space in metres."""

import numpy as np

from train.synthetic.bicycle_kinds import Kind
from train.synthetic.chance import Colour, Rng, from_hsv, grey, happens, uniform
from train.synthetic.figure import Part, Rod, Sheet
from train.synthetic.frames import Joints
from train.synthetic.geometry import Points, curve
from train.synthetic.solids import Solid, chain, plain

BAR_SHAPES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "drop": (
        (0.09, 0, 0.02),
        (0.1, 0, 0.19),
        (0.17, 0.0, 0.21),
        (0.19, -0.07, 0.21),
        (0.14, -0.13, 0.21),
        (0.05, -0.135, 0.22),
    ),
    "flat": ((0.06, 0, 0.02), (0.05, 0.015, 0.16), (0.02, 0.02, 0.32)),
    "swept": ((0.06, 0, 0.02), (0.08, 0.05, 0.14), (0.0, 0.07, 0.25), (-0.14, 0.05, 0.28)),
    "high": ((0.05, 0, 0.02), (0.05, 0.02, 0.1), (0.03, 0.2, 0.2), (0.0, 0.21, 0.34)),
}
"""One half of the bar, as offsets from the top of the stem (forward, up, sideways); the grip is at the end."""


def bar_ends(kind: Kind, at: Joints) -> Points:
    """Where hands hold: (2, 3), drive side first. On drop bars the hoods."""
    offset = np.array(BAR_SHAPES[kind.bars][2 if kind.bars == "drop" else -1])
    return at.steered(at.bars + np.array([offset, offset * (1, 1, -1)]))


def handlebars(kind: Kind, at: Joints, rng: Rng) -> list[Part]:
    """Stem, both halves of the bar, grips or hoods, brake levers."""
    metal, dark = grey(rng, 0.1, 0.85), grey(rng, 0.08, 0.25)
    grip = from_hsv(uniform(rng, 0.03, 0.1), 0.6, 0.4) if happens(rng, 0.25) else dark
    tape = grip if kind.bars == "drop" else metal
    stem = at.steered(np.array([at.head_top, at.bars, at.bars + np.array(BAR_SHAPES[kind.bars][0]) * (1, 1, 0)]))
    parts: list[Part] = [Rod(stem, 0.015, metal)]
    for side in (1, -1):
        half = at.steered(curve(at.bars + np.array(BAR_SHAPES[kind.bars]) * (1, 1, side), 24))
        parts += [Rod(half, 0.0135 if kind.bars == "drop" else 0.0115, tape), Rod(half[-7:], 0.0165, grip)]
        parts.append(_lever(kind, at, side, metal))
    return parts


def _lever(kind: Kind, at: Joints, side: int, metal: Colour) -> Part:
    if kind.bars == "drop":
        hood = np.array([(0.15, 0.01, 0.21), (0.21, 0.03, 0.21), (0.22, -0.06, 0.21)])
        return Rod(at.steered(at.bars + hood * (1, 1, side)), 0.0125, (30, 30, 32))
    end = np.array(BAR_SHAPES[kind.bars])[-2:]
    line = np.array([end[0] + (0.03, -0.005, 0.02), end[0] * 0.4 + end[1] * 0.6 + (0.05, -0.03, 0)])
    return Rod(at.steered(at.bars + line * (1, 1, side)), 0.007, metal)


def saddle(kind: Kind, at: Joints, rng: Rng) -> list[Part]:
    """A wide back that narrows to the nose."""
    colour = from_hsv(uniform(rng, 0.04, 0.09), 0.6, 0.45) if happens(rng, 0.3) else grey(rng, 0.08, 0.3)
    top = at.saddle + (0, 0.02, 0)
    length = 0.28 * min(1.0, kind.saddle / 0.5)
    knots = [top + length * np.array([x, y, 0]) for x, y in ((-0.42, 0.06), (-0.15, 0.0), (0.2, 0.0), (0.58, 0.0))]
    wide = kind.saddle_width
    return [
        Solid([chain(knots, [0.75 * wide, 0.8 * wide, 0.3 * wide, 0.25 * wide], plain(colour), 16, (0, 1, 0), 0.42)])
    ]


def fenders(kind: Kind, at: Joints, colour: Colour) -> list[Part]:
    """Arcs over both wheels."""
    radius = kind.wheel + 0.025
    rear = _arc(at.rear_hub, radius, 40, 200)
    front = at.steered(_arc(at.front_hub, radius, 55, 200 if kind.wheel > 0.3 else 170))
    return [Rod(arc, 0.011, colour, order=0.002) for arc in (rear, front)]


def _arc(hub: Points, radius: float, start: float, end: float) -> Points:
    angle = np.deg2rad(np.linspace(start, end, 24))
    return hub + radius * np.column_stack([np.cos(angle), np.sin(angle), np.zeros(24)])


def basket(kind: Kind, at: Joints, colour: Colour) -> list[Part]:
    """A woven or wire basket before the bars."""
    size = 0.3 * min(1.0, kind.wheel / 0.3)
    low = at.bars + (0.1, -size * 0.75, 0)
    base, rim = _rectangle(low, 0.7 * size, 0.7 * size), _rectangle(low + (0, size * 0.75, 0), 0.95 * size, 0.95 * size)
    base, rim = at.steered(base), at.steered(rim)
    faces: list[Part] = []
    for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
        faces.append(Sheet([(np.array([base[a], base[b], rim[b], rim[a]]), colour)]))
        weave = [
            np.array([base[a] + t * (rim[a] - base[a]), base[b] + t * (rim[b] - base[b])]) for t in (0.25, 0.5, 0.75)
        ]
        weave += [
            np.array([base[a] + t * (base[b] - base[a]), rim[a] + t * (rim[b] - rim[a])]) for t in (0.2, 0.4, 0.6, 0.8)
        ]
        faces += [Rod(line, 0.004, _dark(colour), shine=False, order=0.01) for line in weave]
    return [*faces, Rod(rim, 0.009, _dark(colour), closed=True, order=0.02)]


def _rectangle(low: Points, length: float, width: float) -> Points:
    corners: Points = low + np.array(
        [(0, 0, -width / 2), (length, 0, -width / 2), (length, 0, width / 2), (0, 0, width / 2)]
    )
    return corners


def _dark(colour: Colour) -> Colour:
    red, green, blue = colour
    return int(red * 0.65), int(green * 0.65), int(blue * 0.65)


def rack(kind: Kind, at: Joints, colour: Colour) -> list[Part]:
    """A luggage rack over the rear wheel."""
    height = kind.wheel + 0.06
    deck = at.rear_hub + np.array([(0.14, height, 0), (-0.24, height, 0)])
    rails: list[Part] = [Rod(deck + (0, 0, z), 0.007, colour) for z in (-0.06, 0.0, 0.06)]
    legs: list[Part] = [
        Rod(np.array([at.rear_hub + (0, 0, z), at.rear_hub + (x, height, z)]), 0.006, colour)
        for z in (-0.065, 0.065)
        for x in (-0.2, -0.02)
    ]
    return rails + legs


def kickstand(at: Joints) -> list[Part]:
    """A stand on the left side, down to the ground."""
    start = at.bracket + 0.35 * (at.rear_hub - at.bracket)
    return [Rod(np.array([start, [start[0] - 0.1, 0.01, -0.16]]), 0.009, (60, 60, 64))]
