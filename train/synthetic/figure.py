"""A figure is a list of parts in space; the far ones are painted first."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from train.synthetic.chance import Colour, lit
from train.synthetic.geometry import Points, View
from train.synthetic.layer import Layer
from train.synthetic.solids import Light

Disc = tuple[float, float, float]
"""Middle and radius in the picture: x, y, radius."""


class Part(Protocol):
    """Something that can be painted: a solid, a sheet, a rod, a ball."""

    def extent(self) -> tuple[Points, Points]:
        """Points (n, 3) and the reach (n,) around each that hold the whole part."""

    def depth(self, view: View) -> float:
        """How near the viewer the part is; nearer parts cover farther ones."""

    def paint(self, layer: Layer, view: View, light: Light) -> None:
        """Draw it."""


@dataclass(frozen=True)
class Rod:
    """A round bar along (n, 3) points; with `shine` it has a dark and a bright side."""

    points: Points
    radius: float
    colour: Colour
    shine: bool = True
    closed: bool = False
    order: float = 0.0

    def extent(self) -> tuple[Points, Points]:
        """Its axis, and its radius all along."""
        return self.points, np.full(len(self.points), self.radius)

    def depth(self, view: View) -> float:
        """The depth of its middle."""
        return float(view.camera(self.points)[:, 2].mean()) + self.order

    def paint(self, layer: Layer, view: View, light: Light) -> None:
        """A stroke; for a shining bar three, the narrower ones moved towards the light."""
        flat = view.project(self.points)
        width = 2 * self.radius * float(view.magnification(self.points).mean())
        tones = ((1.0, 0.6, 0.0), (0.62, 1.0, 0.12), (0.2, 1.45, 0.2)) if self.shine else ((1.0, 0.9, 0.0),)
        aside = light.direction[:2] * (1, -1)
        for share, brightness, shift in tones:
            if share == 1 or width * share * layer.side >= 1:
                colour = lit(self.colour, brightness)
                layer.stroke(flat + shift * width * aside, width * share, colour, closed=self.closed)


@dataclass(frozen=True)
class Sheet:
    """Flat outlines (n, 3) with a colour each, painted one after the other: a wing, a fan of feathers, a fender."""

    outlines: list[tuple[Points, Colour]] = field(default_factory=list)
    order: float = 0.0

    def extent(self) -> tuple[Points, Points]:
        """All corners, without reach."""
        points = np.concatenate([outline for outline, _ in self.outlines])
        return points, np.zeros(len(points))

    def depth(self, view: View) -> float:
        """The depth of its middle."""
        return float(view.camera(self.extent()[0])[:, 2].mean()) + self.order

    def paint(self, layer: Layer, view: View, light: Light) -> None:
        """Each outline, brighter the more it faces the light (from either side)."""
        for outline, colour in self.outlines:
            seen = view.camera(outline)
            normal = np.cross(seen[1] - seen[0], seen[len(seen) // 2] - seen[0])
            facing = abs(float(normal @ light.direction)) / (float(np.linalg.norm(normal)) + 1e-9)
            layer.polygon(view.project(outline), lit(colour, light.ambient + 0.15 + 0.5 * facing))


@dataclass(frozen=True)
class Ball:
    """A disc that always faces the viewer."""

    centre: Points
    radius: float
    colour: Colour
    order: float = 0.0

    def extent(self) -> tuple[Points, Points]:
        """Its centre and radius."""
        return self.centre[None], np.array([self.radius])

    def depth(self, view: View) -> float:
        """The depth of its centre."""
        return float(view.camera(self.centre[None])[0, 2]) + self.order

    def paint(self, layer: Layer, view: View, light: Light) -> None:
        """A filled circle."""
        magnification = float(view.magnification(self.centre[None])[0])
        layer.disc(
            view.project(self.centre[None])[0], self.radius * magnification, lit(self.colour, light.ambient + 0.5)
        )


@dataclass(frozen=True)
class Figure:
    """What a scene shows: its parts, how it is seen, and where it belongs ('ground', 'perch', 'air' or 'water')."""

    parts: list[Part]
    view: View
    place: str
    sunk: float = 0.0
    """Share of its height that is under water, for place 'water'."""
    focus: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """A ball (x, y, z, radius) that nothing may hide: a bird's head, the middle of a bicycle's bars."""
    feet: Points | None = None
    """Where it stands, (n, 3); None: on its lowest points."""

    def fitted(self, box: tuple[float, float, float, float]) -> "Figure":
        """The same figure, made to fill `box` (left, top, width, height)."""
        extents = [part.extent() for part in self.parts]
        points, radii = np.concatenate([e[0] for e in extents]), np.concatenate([e[1] for e in extents])
        return replace(self, view=self.view.fitted(points, radii, box))

    def focus_in_picture(self) -> Disc:
        """The disc to leave free of obstacles, in the picture."""
        centre, radius = np.array([self.focus[:3]]), self.focus[3]
        ((x, y),) = self.view.project(centre)
        return float(x), float(y), radius * float(self.view.magnification(centre)[0])

    def standing_height(self, lowest: float) -> float:
        """The height in the picture (0 top, 1 bottom) of what it stands on; `lowest` is that of its lowest point."""
        return lowest if self.feet is None else float(self.view.project(self.feet)[:, 1].mean())

    def painted(self, side: int, light: Light) -> Layer:
        """A layer of `side` pixels with the figure on it, far parts first."""
        layer = Layer(side)
        for part in sorted(self.parts, key=lambda part: part.depth(self.view)):
            part.paint(layer, self.view, light)
        return layer
