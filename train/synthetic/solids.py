"""Round bodies: chains of ellipsoids in one depth buffer, coloured by their place on the body and shaded by a light.

m ellipsoids in a chain, k visible pixels, S side of the layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from train.synthetic.chance import Colour
from train.synthetic.geometry import Points, View, curve
from train.synthetic.layer import Layer

Surface = Callable[[Points, Points], Points]
"""(k, 3) positions in space and (k, 3) outward normals -> (k, 3) colours, 0 to 255."""


def plain(colour: Colour) -> Surface:
    """One colour all over."""
    return lambda position, _normal: np.broadcast_to(np.array(colour, dtype=np.float64), position.shape)


@dataclass(frozen=True)
class Light:
    """A far lamp: unit `direction` towards it in camera axes, and how much light comes from everywhere."""

    direction: Points
    ambient: float = 0.5

    def shade(self, normals: Points) -> Points:
        """(k, 3) normals in camera axes -> (k,) brightness factors."""
        towards = normals @ self.direction
        return self.ambient + (1.15 - self.ambient) * np.clip(towards, 0, None) + 0.1 * np.clip(normals[:, 1], 0, None)


@dataclass(frozen=True)
class Chain:
    """Ellipsoids of `radii` (m,) at `centres` (m, 3), squeezed to `flatness` of their radius along `flat_axis`."""

    centres: Points
    radii: Points
    surface: Surface
    flat_axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    flatness: float = 1.0

    def shape(self, view: View) -> Points:
        """The quadratic form (3, 3) in screen axes (y down): x' A x = r^2 is the ellipsoid's skin."""
        axis = view.rotation @ np.asarray(self.flat_axis) * (1, -1, 1)
        axis = axis / np.linalg.norm(axis)
        return np.eye(3) + (self.flatness**-2 - 1) * np.outer(axis, axis)

    def tangents(self, view: View) -> tuple[Points, Points]:
        """Unit tangents (m, 3) in screen axes, and how the radius grows along them (m,); zero at the round ends."""
        if len(self.radii) < 4:
            return np.zeros((len(self.radii), 3)), np.zeros(len(self.radii))
        steps = np.gradient(view.camera(self.centres) * (1, -1, 1), axis=0)
        length = np.linalg.norm(steps, axis=1) + 1e-9
        tangents = steps / length[:, None]
        tangents[[0, -1]] = 0
        return tangents, np.clip(np.gradient(self.radii) / length, -0.95, 0.95)


def chain(
    knots: npt.ArrayLike,
    radii: npt.ArrayLike,
    surface: Surface,
    count: int = 20,
    flat_axis: npt.ArrayLike = (0.0, 0.0, 1.0),
    flatness: float = 1.0,
) -> Chain:
    """A smooth chain of `count` ellipsoids through (k, 3) knots with (k,) radii."""
    both = curve(np.column_stack([np.asarray(knots, dtype=np.float64), np.asarray(radii, dtype=np.float64)]), count)
    x, y, z = np.asarray(flat_axis, dtype=np.float64)
    return Chain(both[:, :3], np.maximum(both[:, 3], 0.004), surface, (float(x), float(y), float(z)), flatness)


@dataclass
class Solid:
    """Chains that pass into one another; a part of a figure. `order` is added to its depth among the parts."""

    chains: list[Chain] = field(default_factory=list)
    order: float = 0.0

    def extent(self) -> tuple[Points, Points]:
        """Every centre (m, 3) with its radius (m,)."""
        return np.concatenate([c.centres for c in self.chains]), np.concatenate([c.radii for c in self.chains])

    def depth(self, view: View) -> float:
        """How near the viewer its middle is."""
        return float(view.camera(self.extent()[0])[:, 2].mean()) + self.order

    def paint(self, layer: Layer, view: View, light: Light) -> None:
        """Draw the visible skin."""
        buffer = _DepthBuffer(layer.side)
        for number, links in enumerate(self.chains):
            buffer.add(number, links, view)
        rows, columns = np.nonzero(buffer.owner >= 0)
        if rows.size:
            colours = _shaded(self.chains, buffer, view, light, rows, columns)
            _paste(layer, rows, columns, colours)


class _DepthBuffer:
    """Per pixel: the nearest skin (`depth`), and which link of which chain it belongs to (`owner`, -1: none)."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.depth = np.full((side, side), -np.inf, dtype=np.float32)
        self.owner = np.full((side, side), -1, dtype=np.int32)
        self.centres: list[Points] = []
        self.radii: list[float] = []
        self.chain_of: list[int] = []

    def add(self, number: int, links: Chain, view: View) -> None:
        """Enter every ellipsoid of chain `number`."""
        size = view.magnification(links.centres) * self.side
        flat = view.project(links.centres) * self.side
        centres = np.column_stack([flat, view.camera(links.centres)[:, 2] * view.scale * self.side])
        form = links.shape(view).astype(np.float32)
        for centre, radius in zip(centres, links.radii * size, strict=True):
            self._enter(centre, float(max(radius, 0.7)), form, len(self.centres))
            self.centres.append(centre)
            self.radii.append(float(radius))
            self.chain_of.append(number)

    def _enter(self, centre: Points, radius: float, form: npt.NDArray[np.float32], owner: int) -> None:
        low = np.clip(np.floor(centre[:2] - radius), 0, self.side).astype(int)
        high = np.clip(np.ceil(centre[:2] + radius) + 1, 0, self.side).astype(int)
        if (high <= low).any():
            return
        window = slice(low[1], high[1]), slice(low[0], high[0])
        x = (np.arange(low[0], high[0]) - centre[0]).astype(np.float32)[None, :]
        y = (np.arange(low[1], high[1]) - centre[1]).astype(np.float32)[:, None]
        half_b = form[0, 2] * x + form[1, 2] * y
        rest = form[0, 0] * x * x + 2 * form[0, 1] * x * y + (form[1, 1] * y * y - radius * radius)
        root = half_b * half_b - form[2, 2] * rest
        skin = np.float32(centre[2]) + (np.sqrt(np.maximum(root, 0)) - half_b) / form[2, 2]
        nearer = (root > 0) & (skin > self.depth[window])
        np.copyto(self.depth[window], skin, where=nearer)
        np.copyto(self.owner[window], np.int32(owner), where=nearer)


def _shaded(
    chains: list[Chain],
    buffer: _DepthBuffer,
    view: View,
    light: Light,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
) -> npt.NDArray[np.uint8]:
    owner = buffer.owner[rows, columns]
    screen = np.column_stack([columns, rows, buffer.depth[rows, columns]]).astype(np.float64)
    offset = _without_ridges(chains, buffer, view, screen - np.asarray(buffer.centres)[owner], owner)
    in_space = (screen / buffer.side - (*view.centre, 0.0)) * (1, -1, 1) / view.scale @ view.rotation
    of_chain = np.asarray(buffer.chain_of)[owner]
    colours = np.empty((rows.size, 3))
    for number, links in enumerate(chains):
        mine = of_chain == number
        if mine.any():
            normal = offset[mine] @ links.shape(view)
            normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9) * (1, -1, 1)
            albedo = links.surface(in_space[mine], normal @ view.rotation)
            colours[mine] = albedo * light.shade(normal)[:, None]
    return colours.clip(0, 255).astype(np.uint8)


def _without_ridges(
    chains: list[Chain], buffer: _DepthBuffer, view: View, offset: Points, owner: npt.NDArray[np.int32]
) -> Points:
    """Give each point the normal of the cone that its chain of balls stands for, so that no ball shows as a ridge."""
    tangents, slopes = (np.concatenate(both) for both in zip(*(c.tangents(view) for c in chains), strict=True))
    tangent = tangents[owner]
    wanted = -np.asarray(buffer.radii)[owner] * slopes[owner]
    have: Points = np.einsum("kd,kd->k", offset, tangent)
    smooth: Points = offset + tangent * (wanted - have)[:, None]
    return smooth


def _paste(
    layer: Layer, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], colours: npt.NDArray[np.uint8]
) -> None:
    top, left = int(rows.min()), int(columns.min())
    pixels = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1, 4), dtype=np.uint8)
    pixels[rows - top, columns - left, :3] = colours
    pixels[rows - top, columns - left, 3] = 255
    drawn = Image.fromarray(pixels)
    layer.image.paste(drawn, (left, top), drawn.getchannel("A"))
