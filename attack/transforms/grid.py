"""The spatial grid: every photo under each of 775 maps, as the challenge's kit ran it and as it is documented; or 27.

N batch, H, W rows and columns, S side, M maps of the grid. A map is (angle, dx, dy): degrees, and pixels of a
224 x 224 picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import cos, radians, sin

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from attack.transforms.spatial import KIT_SIZE
from model.pixels import Pixels

BORDER_SHARE = 0.15
"""Share of the side that is black at each edge before the picture moves: 33 px of 224."""

Map = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """The values that the maps are made of."""

    angles_degrees: tuple[float, ...]
    dxs_px: tuple[float, ...]
    dys_px: tuple[float, ...]

    @cached_property
    def maps(self) -> tuple[Map, ...]:
        """All combinations, the last value running fastest."""
        return tuple(product(self.angles_degrees, self.dxs_px, self.dys_px))


def _steps(limit: float, n: int) -> tuple[float, ...]:
    return tuple(np.linspace(-limit, limit, n).tolist())


KIT = Grid(angles_degrees=_steps(18, 5), dxs_px=_steps(18, 5), dys_px=_steps(30, 31))
"""What ran: the kit lists (dx, dy, angle) but takes them as (angle, dx, dy). All published scores used this."""
DOCUMENTED = Grid(angles_degrees=_steps(30, 31), dxs_px=_steps(18, 5), dys_px=_steps(18, 5))
"""What the limits say: shifts of up to 18 px in 5 values each, rotations of up to 30 degrees in 31."""

CORNERS = Grid(angles_degrees=_steps(18, 3), dxs_px=_steps(18, 3), dys_px=_steps(30, 3))
"""The ends and the middle of each of the kit's ranges: 27 of its maps, to choose weights by."""


def bordered(pixels: Pixels) -> Pixels:
    """(S, S, 3) uint8 -> the same, shrunk by Pillow (antialiased) to leave a black border of `int(0.15 S)` pixels."""
    side = pixels.shape[0]
    border = int(side * BORDER_SHARE)
    inner = side - 2 * border
    shrunk = Image.fromarray(pixels).resize((inner, inner), Image.Resampling.BILINEAR)
    return np.pad(np.asarray(shrunk), ((border, border), (border, border), (0, 0)))


def moved(x: Tensor, maps: Sequence[Map]) -> Tensor:
    """(N, 3, S, S) bordered pictures on the 8-bit lattice, and N maps -> the moved pictures, on the lattice.

    As torchvision 0.2 and Pillow did it for the kit: rotation about (S / 2 + 1/2, S / 2 + 1/2), bilinear, black
    outside, the result cut off (not rounded) to 8 bit. Pillow works in double precision, this in the precision of `x`:
    in float32 a few in a thousand values differ, by one level. Shifts scale with S / 224.
    """
    side = x.shape[-1]
    theta = torch.tensor([_sampling_matrix(one, side) for one in maps], dtype=x.dtype, device=x.device)
    places = F.affine_grid(theta, list(x.shape), align_corners=False)
    levels = F.grid_sample(x * 255, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (levels + 1e-3).floor() / 255


def _sampling_matrix(one: Map, side: int) -> list[list[float]]:
    """From a result's place to its source, both in [-1, 1] across the picture."""
    angle, dx, dy = one
    cosine, sine = cos(radians(angle)), sin(radians(angle))
    # The centre is half a pixel off the middle; in units of half the side that is 1 / side.
    right, down = (1 / side + 2 * shift / KIT_SIZE for shift in (dx, dy))
    return [
        [cosine, sine, 1 / side - cosine * right - sine * down],
        [-sine, cosine, 1 / side + sine * right - cosine * down],
    ]
