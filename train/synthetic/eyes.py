"""Eyes: iris, pupil and a glint, seen only from the side they look to."""

from dataclasses import dataclass

import numpy as np

from train.synthetic.chance import Colour
from train.synthetic.geometry import Points, View
from train.synthetic.layer import Layer
from train.synthetic.solids import Light


@dataclass(frozen=True)
class Eye:
    """An eye at `centre` (3,) that looks along `outward` (3,); it lies on top of the head that carries it."""

    centre: Points
    radius: float
    iris: Colour
    outward: Points

    def extent(self) -> tuple[Points, Points]:
        """Its centre and radius."""
        return self.centre[None], np.array([self.radius])

    def depth(self, view: View) -> float:
        """In front of the body, whose middle may be nearer than the eye."""
        return float(view.camera(self.centre[None])[0, 2]) + 1.0

    def paint(self, layer: Layer, view: View, light: Light) -> None:
        """Dark rim, iris, pupil and glint, where the eye faces the viewer."""
        facing = float(view.camera(self.outward[None])[0, 2]) / float(np.linalg.norm(self.outward))
        if facing < 0.12:
            return
        radius = self.radius * float(view.magnification(self.centre[None])[0]) * (0.6 + 0.4 * facing)
        middle = view.project(self.centre[None])[0]
        layer.disc(middle, radius * 1.18, (24, 20, 18))
        layer.disc(middle, radius * 0.95, self.iris)
        layer.disc(middle, radius * 0.58, (8, 8, 8))
        layer.disc(middle + radius * 0.35 * light.direction[:2] * (1, -1), radius * 0.27, (250, 250, 250))
