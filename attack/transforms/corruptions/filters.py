"""Linear filters as the published corruptions use them, for batches. N batch, C channels, H height, W width, S side.

A separable filter over a picture is one matrix a side: `rows @ x @ columns.T`. That is exact for every border rule and
for kernels wider than the picture, and it is a plain matrix product on any device.
"""

from functools import lru_cache
from math import ceil
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Indices = npt.NDArray[np.int64]
NEGLIGIBLE = 1e-12
"""Weights that no float32 sum of values in [0, 1] can feel."""
Border = Literal["nearest", "reflect"]
"""As SciPy names them: `nearest` repeats the last pixel, `reflect` mirrors at the edge of the last pixel."""


def gaussian(x: Tensor, sigma: float, truncate: float = 4.0, border: Border = "nearest") -> Tensor:
    """(..., H, W) -> the same: SciPy's `gaussian_filter`; scikit-image's `gaussian` has these defaults."""
    rows, columns = (gaussian_matrix(side, sigma, truncate, border).to(x) for side in x.shape[-2:])
    return rows @ x @ columns.T


@lru_cache(maxsize=64)
def gaussian_matrix(side: int, sigma: float, truncate: float, border: Border) -> Tensor:
    """(S, S) float32: row i holds the weights that make output i; they sum to 1."""
    radius = int(truncate * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    sources = _inside(np.arange(side)[:, None] + offsets, side, border)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], sources), weights / weights.sum())
    return torch.from_numpy(matrix.astype(np.float32))


def _inside(index: Indices, side: int, border: Border) -> Indices:
    if border == "nearest":
        return index.clip(0, side - 1)
    index = index % (2 * side)
    mirrored: Indices = np.minimum(index, 2 * side - 1 - index)
    return mirrored


def correlate(x: Tensor, kernel: Tensor) -> Tensor:
    """(N, C, H, W) and (K, K), K odd -> (N, C, H, W): channel by channel, mirrored about the last pixel's centre.

    A sum of shifted pictures: convolution libraries are tens of times slower where a channel stands alone.
    """
    height, width = x.shape[-2:]
    reach = kernel.shape[-1] // 2
    padded = F.pad(x, (reach,) * 4, mode="reflect")
    filtered = torch.zeros_like(x)
    for row, weights in enumerate(kernel.tolist()):
        for column, weight in enumerate(weights):
            if abs(weight) > NEGLIGIBLE:
                filtered.add_(padded[..., row : row + height, column : column + width], alpha=weight)
    return filtered


def box3(x: Tensor) -> Tensor:
    """(N, C, H, W) -> the same: the mean of 3 x 3, mirrored about the last pixel's centre."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def motion(x: Tensor, radius: float, sigma: float, angles_degrees: Tensor) -> Tensor:
    """(N, C, H, W) and (N,) angles -> (N, C, H, W): ImageMagick's one-sided motion blur, borders repeated.

    `2 ceil(radius) + 1` taps with the weights of half a Gaussian, each at the nearest whole pixel along the angle.
    """
    height, width = x.shape[-2:]
    steps = torch.arange(2 * ceil(radius) + 1, dtype=torch.float64)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    taps = (weights / weights.sum()).tolist()
    radians = angles_degrees.double().cpu().deg2rad()[:, None]
    columns = torch.ceil(steps * radians.cos() - 0.5).int().tolist()
    rows = torch.ceil(steps * radians.sin() - 0.5).int().tolist()
    reach = len(taps)
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    blurred = torch.zeros_like(x)
    for image, source, image_rows, image_columns in zip(blurred, padded, rows, columns, strict=True):
        for weight, row, column in zip(taps, image_rows, image_columns, strict=True):
            top, left = reach + row, reach + column
            image.add_(source[:, top : top + height, left : left + width], alpha=weight)
    return blurred


def clipped_zoom(x: Tensor, factor: float) -> Tensor:
    """(N, C, S, S) -> (N, C, S, S): the centre enlarged by `factor` (SciPy's `zoom`, linear), cut to the old size."""
    side = x.shape[-1]
    window = ceil(side / factor)
    start = (side - window) // 2
    enlarged = round(window * factor)
    centre = x[..., start : start + window, start : start + window]
    zoomed = F.interpolate(centre, size=(enlarged, enlarged), mode="bilinear", align_corners=True)
    trim = (enlarged - side) // 2
    return zoomed[..., trim : trim + side, trim : trim + side]


def to_lattice(x: Tensor) -> Tensor:
    """[0, 1] -> the 8-bit lattice k / 255, cut off as NumPy's `uint8` does; outside [0, 1] is clipped first."""
    # k / 255 * 255 may fall a rounding error short of k.
    return (x.clamp(0, 1) * 255 + 1e-4).floor() / 255
