"""The spatial maps of the challenge: shrink, rotate, shift, black outside. Training and attacks share them.

N batch, C channels, H height, W width. A map is (angle, dx, dy): degrees, and fractions of the side.
"""

from dataclasses import dataclass
from typing import Final

import torch
from kornia.geometry.transform import get_rotation_matrix2d, warp_affine
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
    return uniform * torch.tensor([span.angle_degrees, span.shift, span.shift], device=device, dtype=dtype)


def draw_scales(n: int, span: SpatialRange, generator: Generator | None = None) -> Tensor:
    """What `apply_maps` takes as scale: (n,) values between `least_scale` and `scale`, or `scale` alone."""
    scales = torch.full((n,), span.scale, device=generator.device if generator is not None else "cpu")
    return scales if span.least_scale is None else scales.uniform_(span.least_scale, span.scale, generator=generator)


def apply_maps(x: Tensor, maps: Tensor, scale: float | Tensor = SpatialRange.scale) -> Tensor:
    """(N, C, H, W) and (N, 3) maps -> (N, C, H, W): one bilinear resampling about the centre, black outside.

    Differentiable in `x` and in `maps`. The kit resamples twice on uint8 (resize, then rotate and shift); one
    resampling of the composed map loses less detail.
    """
    n, _, height, width = x.shape
    maps = maps.to(dtype=x.dtype, device=x.device)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=x.dtype, device=x.device).expand(n, 2)
    zoom = torch.as_tensor(scale, dtype=x.dtype, device=x.device).reshape(-1, 1).expand(n, 2)
    matrices: Tensor = get_rotation_matrix2d(centre, maps[:, 0], zoom)
    shifts = maps[:, 1:] * torch.tensor([width, height], dtype=x.dtype, device=x.device)
    matrices = torch.cat([matrices[:, :, :2], matrices[:, :, 2:] + shifts.unsqueeze(2)], dim=2)
    mapped: Tensor = warp_affine(x, matrices, dsize=(height, width), padding_mode="zeros", align_corners=True)
    return mapped
