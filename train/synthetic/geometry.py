"""Points in space and how a camera sees them.

n points; space is x right, y up, z towards the viewer; pictures are x right, y down, both 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def curve(knots: npt.ArrayLike, count: int) -> Points:
    """A smooth curve through k knots (Catmull-Rom, centripetal ends repeated): (k, d) -> (count, d)."""
    knots_ = np.asarray(knots, dtype=np.float64)
    padded = np.concatenate([2 * knots_[:1] - knots_[1:2], knots_, 2 * knots_[-1:] - knots_[-2:-1]])
    position = np.linspace(0, len(knots_) - 1, count)
    start = np.minimum(position.astype(int), len(knots_) - 2)
    t = (position - start)[:, None]
    a, b, c, d = (padded[start + k] for k in range(4))
    return np.asarray(
        b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))), dtype=np.float64
    )


def circle(
    centre: npt.ArrayLike, radius: float, first: npt.ArrayLike, second: npt.ArrayLike, count: int = 48
) -> Points:
    """`count` points of a circle in the plane of the unit vectors `first` and `second`: (count, 3)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]
    return np.asarray(
        np.asarray(centre) + radius * (np.cos(angle) * np.asarray(first) + np.sin(angle) * np.asarray(second)),
        dtype=np.float64,
    )


def turn(axis: npt.ArrayLike, degrees: float) -> Points:
    """The rotation by `degrees` about `axis` (Rodrigues): (3, 3), acts on columns."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def heading(degrees: float) -> Points:
    """The unit vector in the sagittal (x, y) plane, `degrees` above the x axis: (3,)."""
    angle = np.deg2rad(degrees)
    return np.array([np.cos(angle), np.sin(angle), 0.0])


@dataclass(frozen=True)
class View:
    """A pinhole camera: `rotation` (3, 3) from space to camera, `distance` to the origin in the units of space.

    `scale` is how much of the picture's side one unit takes at the origin, `centre` where the origin falls.
    """

    rotation: Points
    distance: float
    scale: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)

    def camera(self, points: Points) -> Points:
        """(n, 3) points of space in camera axes."""
        return points @ self.rotation.T

    def magnification(self, points: Points) -> Points:
        """The share of the picture's side that one unit takes at each point: (n,)."""
        return self.scale * self.distance / np.maximum(self.distance - self.camera(points)[:, 2], 0.2 * self.distance)

    def project(self, points: Points) -> Points:
        """(n, 3) points of space -> (n, 2) points of the picture."""
        seen = self.camera(points)[:, :2] * self.magnification(points)[:, None]
        return seen * (1, -1) + self.centre

    def fitted(self, points: Points, radii: Points, box: Sequence[float]) -> "View":
        """The same camera, moved so that balls of `radii` at `points` just fill `box` (left, top, width, height).

        The figure keeps its shape: it touches two sides of the box, stands on its bottom, and is centred across.
        """
        plain = replace(self, scale=1.0, centre=(0.0, 0.0))
        seen, reach = plain.project(points), (radii * plain.magnification(points))[:, None]
        low, high = (seen - reach).min(axis=0), (seen + reach).max(axis=0)
        left, top, width, height = box
        scale = min(width / (high[0] - low[0]), height / (high[1] - low[1]))
        x = left + width / 2 - scale * (low[0] + high[0]) / 2
        return replace(self, scale=float(scale), centre=(float(x), float(top + height - scale * high[1])))


def looking(yaw: float, elevation: float, roll: float, mirrored: bool, distance: float) -> View:
    """A camera that sees the x axis turned by `yaw` (90: at the viewer) from `elevation` above, in degrees."""
    rotation = turn((0, 0, 1), roll) @ turn((1, 0, 0), elevation) @ turn((0, 1, 0), -yaw)
    return View(np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0]) @ rotation, distance)
