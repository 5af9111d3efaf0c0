"""Brightness, contrast, saturation, pixels and elastic maps. x: (N, 3, S, S) in [0, 1]; S side."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from attack.draws import Draws
from attack.transforms.corruptions.filters import gaussian
from attack.transforms.corruptions.parameters import PARAMETERS


def brightness(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001  (one signature for all)
    """The value of HSV is raised: hue and saturation stay, so all three channels grow by one factor."""
    (summand,) = PARAMETERS["brightness"][severity - 1]
    value = x.amax(dim=1, keepdim=True)
    raised = (value + summand).clamp(0, 1)
    return (x * raised / value.clamp(min=1e-12)).where(value > 0, raised)


def contrast(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001
    """Each channel is drawn towards its mean."""
    (share,) = PARAMETERS["contrast"][severity - 1]
    mean = x.mean(dim=(2, 3), keepdim=True)
    return (x - mean) * share + mean


def saturate(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001
    """The saturation of HSV is scaled and shifted; grey has hue 0 (red), as HSV conversions give it."""
    factor, summand = PARAMETERS["saturate"][severity - 1]
    value = x.amax(dim=1, keepdim=True)
    below = value - x
    saturation = below.amax(dim=1, keepdim=True) / value.clamp(min=1e-12)
    wanted = (saturation * factor + summand).clamp(0, 1)
    red = x.new_tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1)
    return value - (below * wanted / saturation.clamp(min=1e-12)).where(saturation > 0, value * wanted * red)


def pixelate(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001
    """Pillow's box filter down and up again, rounded to 8 bit after each pass over rows or columns."""
    (share,) = PARAMETERS["pixelate"][severity - 1]
    side = x.shape[-1]
    small = int(side * share)
    for down_or_up in (box_matrix(side, small).to(x), box_matrix(small, side).to(x)):
        x = _rounded(_rounded(x @ down_or_up.T).transpose(2, 3) @ down_or_up.T).transpose(2, 3)
    return x


def elastic_transform(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A random affine map, mirrored at the borders, then a smooth random displacement of every pixel."""
    strength, sigma, jitter = PARAMETERS["elastic_transform"][severity - 1]
    side = x.shape[-1]
    x = _affine(x, _corner_maps(side, draws.uniform(3, 2, low=-jitter, high=jitter)))
    noise = draws.uniform(2, side, side, low=-1, high=1)
    shifts = gaussian(noise, sigma, truncate=3.0, border="reflect") * strength
    places = _pixel_grid(side, x) + shifts.permute(0, 2, 3, 1)
    # align_corners=False mirrors at the edge of the last pixel, as SciPy's `reflect`.
    grid = (2 * places + 1) / side - 1
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _corner_maps(side: int, jitter: Tensor) -> Tensor:
    """(N, 3, 2) shifts of three corners of the middle square -> (N, 2, 3) maps from result to source pixels."""
    centre, half = side // 2, side // 3
    corners = jitter.new_tensor([[half, half], [half, -half], [-half, -half]]).double() + centre
    moved = corners + jitter.double()
    ones = torch.ones(len(jitter), 3, 1, dtype=torch.float64, device=jitter.device)
    maps: Tensor = torch.linalg.solve(torch.cat([moved, ones], dim=2), corners.expand_as(moved))
    return maps.transpose(1, 2)


def _affine(x: Tensor, maps: Tensor) -> Tensor:
    """Each result pixel (column, row, 1) is read at `maps @ pixel`, mirrored about the last pixel's centre."""
    side = x.shape[-1]
    pixels = _pixel_grid(side, maps)
    places = pixels @ maps[:, None, :, :2].transpose(2, 3) + maps[:, None, None, :, 2]
    grid = (2 * places / (side - 1) - 1).to(x)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def _pixel_grid(side: int, like: Tensor) -> Tensor:
    along = torch.arange(side, dtype=like.dtype, device=like.device)
    rows, columns = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([columns, rows], dim=-1)


@lru_cache(maxsize=32)
def box_matrix(side_in: int, side_out: int) -> Tensor:
    """(side_out, side_in): Pillow's BOX resampling along one side; a pixel counts wholly if its centre lies inside."""
    scale = side_in / side_out
    centres = (torch.arange(side_out, dtype=torch.float64)[:, None] + 0.5) * scale
    distance = (torch.arange(side_in, dtype=torch.float64) + 0.5 - centres) / max(scale, 1.0)
    weights = ((distance > -0.5) & (distance <= 0.5)).double()
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def _rounded(x: Tensor) -> Tensor:
    return (x * 255 + 0.5).floor() / 255
