"""Gaussian, defocus, glass, motion and zoom blur. x: (N, 3, S, S) in [0, 1]; S side; lengths in pixels."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attack.draws import Draws
from attack.transforms.corruptions.filters import clipped_zoom, correlate, gaussian, motion, to_lattice
from attack.transforms.corruptions.parameters import PARAMETERS


def gaussian_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001  (one signature for all)
    """A Gaussian filter, borders repeated."""
    (sigma,) = PARAMETERS["gaussian_blur"][severity - 1]
    return gaussian(x, sigma)


def defocus_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001
    """A disk, softened a little at its rim."""
    radius, rim_sigma = PARAMETERS["defocus_blur"][severity - 1]
    return correlate(x, disk(int(radius), rim_sigma))


def motion_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """ImageMagick's motion blur at an angle in [-45, 45) degrees."""
    radius, sigma = PARAMETERS["motion_blur"][severity - 1]
    return motion(x, radius, sigma, draws.uniform(low=-45, high=45))


def zoom_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001
    """The mean of the picture and of its enlargements, the picture itself counted twice."""
    stop, step = PARAMETERS["zoom_blur"][severity - 1]
    factors = np.arange(1, stop, step).tolist()
    total = x.clone()
    for factor in factors:
        total += clipped_zoom(x, factor)
    return total / (len(factors) + 1)


def glass_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Blur, move pixels about within `reach`, blur again.

    Published as a swap of neighbours; in the code that made ImageNet-C the swap reads what it has just written, so that
    a pixel takes the value of a neighbour and the neighbour keeps it. That is what ran, and what runs here.
    """
    sigma, reach, rounds = PARAMETERS["glass_blur"][severity - 1]
    x = to_lattice(gaussian(x, sigma))
    for _ in range(int(rounds)):
        offsets = draws.integers(2, *x.shape[-2:], low=-int(reach), high=int(reach))
        sources = shuffled_sources(offsets, int(reach))
        x = x.flatten(2).gather(2, sources[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    return gaussian(x, sigma)


def shuffled_sources(offsets: Tensor, reach: int) -> Tensor:
    """(N, 2, S, S) offsets (columns, rows) -> (N, S * S): which pixel each one shows after one round.

    The round runs from the last pixel (S - reach) to the first (reach + 1), row by row; each takes the present value of
    its neighbour, which may itself have been replaced a moment before. Such chains are followed to their end by
    doubling: node p is 'p before the round', node S * S + p is 'p after its turn'.
    """
    n, _, side, _ = offsets.shape
    pixels = torch.arange(side * side, device=offsets.device)
    rows, columns = pixels // side, pixels % side
    neighbours = pixels + offsets[:, 1].flatten(1) * side + offsets[:, 0].flatten(1)
    moved = ((rows > reach) & (rows <= side - reach) & (columns > reach) & (columns <= side - reach)).expand(n, -1)
    neighbours = pixels.where(~moved, neighbours)
    had_its_turn = moved.gather(1, neighbours) & (neighbours > pixels)
    after = (neighbours + side * side).where(had_its_turn, neighbours)
    target = torch.cat([pixels.expand(n, -1), after], dim=1)
    while (target >= side * side).any():
        target = target.gather(1, target)
    return target[:, side * side :]


@lru_cache(maxsize=16)
def disk(radius: int, rim_sigma: float) -> Tensor:
    """(K, K) weights that sum to about 1: a disk on a 17 x 17 grid (larger for larger radii), its rim smoothed."""
    reach, taps = (8, 3) if radius <= 8 else (radius, 5)
    along = torch.arange(-reach, reach + 1, dtype=torch.float64)
    inside = (along[:, None] ** 2 + along**2 <= radius**2).double()
    steps = torch.arange(taps, dtype=torch.float64) - taps // 2
    rim = torch.exp(-(steps**2) / (2 * rim_sigma**2))
    rim = rim / rim.sum()
    padded = F.pad((inside / inside.sum())[None, None], (taps // 2,) * 4, mode="reflect")
    return F.conv2d(padded, torch.outer(rim, rim)[None, None])[0, 0].float()
