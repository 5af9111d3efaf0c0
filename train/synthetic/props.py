"""What figures stand on above the ground, and what is between them and the camera; the same for both classes."""

from dataclasses import dataclass, replace

import numpy as np

from train.synthetic.backdrops import leaf
from train.synthetic.chance import Colour, Rng, from_hsv, grey, happens, lit, pick, uniform
from train.synthetic.geometry import Points, curve
from train.synthetic.layer import Layer


@dataclass(frozen=True)
class Perch:
    """A branch, rail, wall or wire across the picture: (n, 2) points and its thickness."""

    points: Points
    thickness: float
    colour: Colour
    leafy: bool
    solid: bool
    """A wall: filled down to the bottom of the picture."""

    def under(self, height: float) -> "Perch":
        """The same perch, moved so that its upper edge in the middle of the picture is at `height`."""
        middle = float(np.interp(0.5, self.points[:, 0], self.points[:, 1]))
        return replace(self, points=self.points + (0, height - middle + 0.4 * self.thickness))

    def paint(self, layer: Layer, rng: Rng) -> None:
        """Draw it, lighter above than below."""
        if self.solid:
            layer.polygon([*self.points, (1.3, 1.3), (-0.3, 1.3)], lit(self.colour, 0.75))
        layer.stroke(self.points, self.thickness, lit(self.colour, 0.75))
        layer.stroke(self.points - (0, 0.2 * self.thickness), 0.5 * self.thickness, lit(self.colour, 1.15))
        if self.leafy:
            _twigs(layer, rng, self.points, self.colour)


def perch(rng: Rng) -> Perch:
    """Any perch, between the middle and the bottom of the picture."""
    kind = pick(rng, ("branch", "branch", "branch", "rail", "wire", "wall"))
    y, slope = uniform(rng, 0.68, 0.93), uniform(rng, -0.06, 0.06)
    if kind == "branch":
        wood = from_hsv(uniform(rng, 0.05, 0.12), uniform(rng, 0.1, 0.5), uniform(rng, 0.25, 0.7))
        knots = [(x, y + slope * (x - 0.5) + float(rng.normal(0, 0.012))) for x in (-0.1, 0.2, 0.5, 0.8, 1.1)]
        return Perch(curve(knots, 30), uniform(rng, 0.025, 0.07), wood, happens(rng, 0.6), False)
    line = np.array([(-0.1, y - slope / 4), (1.1, y + slope / 4)])
    thickness = {"rail": 0.045, "wire": 0.012, "wall": 0.03}[kind] * uniform(rng, 0.7, 1.3)
    return Perch(line, thickness, from_hsv(0.08, uniform(rng, 0, 0.4), uniform(rng, 0.25, 0.8)), False, kind == "wall")


def _twigs(layer: Layer, rng: Rng, points: Points, wood: Colour) -> None:
    """Side twigs with leaves, up and down from a branch, kept short."""
    green = from_hsv(uniform(rng, 0.16, 0.36), uniform(rng, 0.4, 0.8), uniform(rng, 0.3, 0.75))
    for _ in range(int(rng.integers(2, 7))):
        start = points[int(rng.integers(len(points)))]
        degrees = pick(rng, (60, 120, -60, -120)) + uniform(rng, -30, 30)
        end = start + uniform(rng, 0.06, 0.18) * np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        layer.stroke([start, end], 0.008, wood)
        for t in (0.4, 0.7, 1.0):
            at = start + t * (end - start)
            leaf(
                layer,
                (float(at[0]), float(at[1])),
                uniform(rng, 0.04, 0.08),
                degrees + uniform(rng, -60, 60),
                lit(green, uniform(rng, 0.7, 1.3)),
            )


def obstacle(rng: Rng, side: int) -> Layer:
    """Something before the figure: a leafy twig, blades of grass, a pole, a fence, blurred leaves."""
    layer = Layer(side)
    pick(rng, (_corner_twig, _corner_twig, _blades, _pole, _wires, _near_leaves))(rng, layer)
    return layer


def _corner_twig(rng: Rng, layer: Layer) -> None:
    x, y = pick(rng, ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)))
    end = (x + (0.5 - x) * uniform(rng, 0.5, 1.1), y + (0.5 - y) * uniform(rng, 0.3, 1.1))
    wood = from_hsv(0.08, 0.4, uniform(rng, 0.2, 0.5))
    line = curve(
        [(x + uniform(rng, -0.1, 0.1), y), ((x + end[0]) / 2 + uniform(rng, -0.06, 0.06), (y + end[1]) / 2), end], 16
    )
    layer.stroke(line, uniform(rng, 0.008, 0.025), wood)
    _twigs(layer, rng, line, wood)


def _blades(rng: Rng, layer: Layer) -> None:
    green = from_hsv(uniform(rng, 0.14, 0.33), uniform(rng, 0.3, 0.8), uniform(rng, 0.3, 0.8))
    middle = uniform(rng, 0, 1)
    for x, height, lean in rng.random((int(rng.integers(10, 60)), 3)):
        root, tall = middle + (x - 0.5) * 0.9, 0.06 + 0.16 * height
        blade = curve(
            [(root, 1.02), (root + 0.03 * (lean - 0.5), 1 - 0.6 * tall), (root + 0.12 * (lean - 0.5), 1 - tall)], 6
        )
        layer.stroke(blade, 0.007, lit(green, 0.7 + 0.6 * float(lean)))


def _pole(rng: Rng, layer: Layer) -> None:
    x, lean, width, colour = (
        uniform(rng, 0.05, 0.95),
        uniform(rng, -0.05, 0.05),
        uniform(rng, 0.01, 0.05),
        grey(rng, 0.1, 0.8),
    )
    layer.stroke([(x, -0.1), (x + lean, 1.1)], width, lit(colour, 0.7))
    layer.stroke([(x - 0.15 * width, -0.1), (x + lean - 0.15 * width, 1.1)], 0.5 * width, colour)


def _wires(rng: Rng, layer: Layer) -> None:
    colour, gap, slope = grey(rng, 0.2, 0.8), uniform(rng, 0.12, 0.25), uniform(rng, -0.1, 0.1)
    for y in np.arange(uniform(rng, 0, gap), 1, gap):
        layer.stroke([(-0.1, float(y)), (1.1, float(y) + slope)], uniform(rng, 0.004, 0.01), colour)


def _near_leaves(rng: Rng, layer: Layer) -> None:
    x, y = pick(rng, ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)))
    green = from_hsv(uniform(rng, 0.15, 0.36), uniform(rng, 0.3, 0.8), uniform(rng, 0.2, 0.7))
    for dx, dy in rng.normal(0, 0.1, (int(rng.integers(4, 14)), 2)):
        leaf(
            layer,
            (x + float(dx), y + float(dy)),
            uniform(rng, 0.1, 0.24),
            uniform(rng, 0, 360),
            lit(green, uniform(rng, 0.7, 1.3)),
        )
