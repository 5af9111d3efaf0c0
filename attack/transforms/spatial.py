"""The spatial maps of the challenge: shrink, rotate, shift, black outside. Training and attacks share them.

N batch, C channels, H height, W width. A map is (angle, dx, dy): degrees, and fractions of the side.
"""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from kornia.geometry.conversions import angle_to_rotation_matrix
from torch import Generator, Tensor

KIT_SIZE: Final = 224


@dataclass(frozen=True)
class SpatialRange:
    """The span that maps are drawn from; the defaults are the warm-up's random spatial attack.

    The kit states pixels at 224 x 224. Fractions of the side carry them to any size.
    """

    shift: float = 18 / KIT_SIZE
    """Largest shift along each axis, as a fraction of the side."""
    angle_degrees: float = 30.0
    """Largest rotation, in degrees, either way."""
    scale: float = 204 / KIT_SIZE
    """The kit resizes the picture to 204 px and pads it with black before it moves it; 1 leaves the size."""
    least_scale: float | None = None
    """Where given, each map draws its own scale between this and `scale`; the kit's is fixed."""

    @property
    def is_identity(self) -> bool:
        """Whether every map of the span leaves a picture as it is."""
        return self.shift == self.angle_degrees == 0 and self.scale == (self.least_scale or self.scale) == 1

    def scaled(self, share: float) -> "SpatialRange":
        """The same span at `share` in [0, 1] of its strength: 0 is the identity. Schedules start easy with this."""
        least = None if self.least_scale is None else 1 - (1 - self.least_scale) * share
        return SpatialRange(self.shift * share, self.angle_degrees * share, 1 - (1 - self.scale) * share, least)


def draw_maps(
    n: int,
    span: SpatialRange,
    generator: Generator | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(n, 3) maps, uniform over the span: angle in degrees, dx and dy in fractions of the side."""
    uniform = torch.rand(n, 3, generator=generator, device=device, dtype=dtype) * 2 - 1
    # No tensor of these constants: bringing one to a GPU waits until that has done all it was given.
    return torch.cat([uniform[:, :1] * span.angle_degrees, uniform[:, 1:] * span.shift], dim=1)


def draw_scales(n: int, span: SpatialRange, generator: Generator | None = None) -> Tensor:
    """What `apply_maps` takes as scale: (n,) values between `least_scale` and `scale`, or `scale` alone."""
    scales = torch.full((n,), span.scale, device=generator.device if generator is not None else "cpu")
    return scales if span.least_scale is None else scales.uniform_(span.least_scale, span.scale, generator=generator)


def apply_maps(x: Tensor, maps: Tensor, scale: float | Tensor = SpatialRange.scale) -> Tensor:
    """(N, C, H, W) and (N, 3) maps -> (N, C, H, W): one bilinear resampling about the centre, black outside.

    Differentiable in `x` and in `maps`. The kit resamples twice on uint8 (resize, then rotate and shift); one
    resampling of the composed map loses less detail.

    A picture is scaled, turned and moved; so a place p of the result, from the centre, shows the place
    R(-angle) (p - shift) / scale of `x`. Nothing here waits for a GPU.
    """
    height, width = x.shape[-2:]
    maps = maps.to(dtype=x.dtype, device=x.device)
    back = angle_to_rotation_matrix(-maps[:, 0])
    if isinstance(scale, Tensor):
        scale = scale.to(dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
    shifts = torch.stack([maps[:, 1] * width, maps[:, 2] * height], dim=1).unsqueeze(2)
    places = torch.cat([back, -back @ shifts], dim=2) / scale  # (N, 2, 3), in pixels from the centre
    x_row, y_row = places.unbind(dim=1)
    across, down = (width - 1) / 2, (height - 1) / 2  # to the outermost pixels' centres: the units of a grid
    columns = [
        *(x_row[:, 0], x_row[:, 1] * (down / across), x_row[:, 2] / across),
        *(y_row[:, 0] * (across / down), y_row[:, 1], y_row[:, 2] / down),
    ]
    grid = F.affine_grid(torch.stack(columns, dim=1).view(-1, 2, 3), list(x.shape), align_corners=True)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=True)
