"""JPEG compression on tensors: what a baseline encoder and decoder do to the pixels. N batch, H height, W width.

Source: ITU-T T.81 annexes A and K; JFIF 1.02 for the colours; chroma halved both ways, and enlarged again with the
triangle filter of libjpeg. Entropy coding loses nothing and is left out.
"""

from functools import lru_cache
from math import cos, pi, sqrt
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from attack.draws import Draws
from attack.transforms.corruptions.parameters import PARAMETERS

LUMA: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA: Final = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
TO_YCBCR: Final = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)


def jpeg_compression(x: Tensor, severity: int, draws: Draws) -> Tensor:  # noqa: ARG001  (one signature for all)
    """JPEG at the published quality."""
    (quality,) = PARAMETERS["jpeg_compression"][severity - 1]
    return jpeg(x, int(quality))


def jpeg(x: Tensor, quality: int) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> the same after JPEG of `quality` 1 to 100, 4:2:0; rounded to 8 bit."""
    height, width = x.shape[-2:]
    matrix = x.new_tensor(TO_YCBCR)
    levels = torch.einsum("ij,njhw->nihw", matrix, x * 255).round()
    padded = F.pad(levels, (0, -width % 16, 0, -height % 16), mode="replicate")
    luma = _quantised(padded[:, :1] - 128, _table(LUMA, quality))
    chroma = _quantised(F.avg_pool2d(padded[:, 1:], 2).round(), _table(CHROMA, quality))
    planes = torch.cat([luma + 128, _enlarged(chroma)], dim=1)[..., :height, :width]
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix), planes).round().clamp(0, 255) / 255


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """(N, C, H, W), sides multiples of 8, centred at 0 -> the same after quantisation of its 8 x 8 DCT blocks."""
    n, channels, height, width = planes.shape
    blocks = planes.view(n, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    dct, table = _dct().to(planes), table.to(planes)
    coefficients = ((dct @ blocks @ dct.T) / table).round() * table
    restored = (dct.T @ coefficients @ dct).transpose(3, 4).reshape(planes.shape)
    return restored.round().clamp(-128, 127)


def _enlarged(chroma: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): 3/4 of the nearer and 1/4 of the farther sample along each side."""
    return F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False).round()


@lru_cache(maxsize=1)
def _dct() -> Tensor:
    """(8, 8) orthonormal DCT-II."""
    rows = [[sqrt((1 if k == 0 else 2) / 8) * cos(pi * k * (2 * i + 1) / 16) for i in range(8)] for k in range(8)]
    return torch.tensor(rows)


def _table(base: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """The quantisation table at `quality`, scaled as the Independent JPEG Group does: integers from 1 to 255."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(base) * scale + 50) // 100).clamp(1, 255)
