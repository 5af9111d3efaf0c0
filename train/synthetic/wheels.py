"""Wheels: tyre, rim, spokes, hub, and knobs on the tyre of some. Space in metres."""

from dataclasses import dataclass

import numpy as np

from train.synthetic.chance import Colour, lit
from train.synthetic.figure import Ball, Part, Rod
from train.synthetic.geometry import Points, View, circle
from train.synthetic.layer import Layer
from train.synthetic.solids import Light


@dataclass(frozen=True)
class Finish:
    """The colours of a wheel, and whether its rim is deep (a racing wheel)."""

    tyre: Colour
    rim: Colour
    spoke: Colour
    deep: bool = False


@dataclass(frozen=True)
class Spokes:
    """All spokes of a wheel: straight lines (n, 2, 3), a pixel thin."""

    lines: Points
    colour: Colour
    width: float = 0.0022

    def extent(self) -> tuple[Points, Points]:
        """All ends."""
        points = self.lines.reshape(-1, 3)
        return points, np.zeros(len(points))

    def depth(self, view: View) -> float:
        """Just behind rim and tyre."""
        return float(view.camera(self.lines.reshape(-1, 3))[:, 2].mean()) - 0.002

    def paint(self, layer: Layer, view: View, light: Light) -> None:
        """One stroke each."""
        ends = view.project(self.lines.reshape(-1, 3)).reshape(-1, 2, 2)
        tones = [lit(self.colour, tone * (light.ambient + 0.5)) for tone in (0.75, 1.15)]
        layer.thin_lines(ends, self.width * view.scale, [tones[number % 2] for number in range(len(ends))])


def wheel(
    hub: Points, radius: float, tyre: float, count: int, axes: Points, finish: Finish, phase: float, knobs: bool
) -> list[Part]:
    """A wheel of outer `radius` around `hub` (3,) in the plane of `axes` (2, 3), turned by `phase` radians."""
    first, second = axes
    axle = np.cross(first, second)
    middle = radius - tyre
    rim = radius - 2.1 * tyre - (0.022 if finish.deep else 0.004)
    parts: list[Part] = [
        Spokes(_spokes(hub, rim, count, axes, axle, phase), finish.spoke),
        Rod(
            circle(hub, rim, first, second),
            0.022 if finish.deep else 0.0075,
            finish.rim,
            shine=not finish.deep,
            closed=True,
        ),
        Rod(circle(hub, middle, first, second, 64), tyre, finish.tyre, shine=False, closed=True, order=0.001),
        Rod(np.array([hub - 0.045 * axle, hub + 0.045 * axle]), 0.017, (120, 120, 125)),
    ]
    if knobs:
        parts += _tread(hub, radius, tyre, axes, finish.tyre)
    return parts


def _spokes(hub: Points, rim: float, count: int, axes: Points, axle: Points, phase: float) -> Points:
    """Crossed spokes from the two flanges of the hub to the rim: (count, 2, 3)."""
    number = np.arange(count)
    at_rim = phase + 2 * np.pi * number / count
    at_hub = at_rim + np.where(number // 2 % 2 == 0, 1.1, -1.1)
    flange = np.where(number % 2 == 0, 0.03, -0.03)[:, None] * axle
    inner = hub + flange + 0.02 * (np.cos(at_hub)[:, None] * axes[0] + np.sin(at_hub)[:, None] * axes[1])
    outer = hub + rim * (np.cos(at_rim)[:, None] * axes[0] + np.sin(at_rim)[:, None] * axes[1])
    return np.stack([inner, outer], axis=1)


def _tread(hub: Points, radius: float, tyre: float, axes: Points, colour: Colour) -> list[Part]:
    knobs = circle(hub, radius, axes[0], axes[1], 44)
    return [Ball(knob, tyre * 0.32, lit(colour, 1.15)) for knob in knobs]
