"""8-bit pictures to tensors, back, and to another side. N batch, S and T sides of the picture."""

import numpy as np
import torch
from torch import Tensor

from model.pixels import Pixels, to_square


def to_pixels(x: Tensor) -> Pixels:
    """(N, 3, S, S) in [0, 1] -> uint8 (N, S, S, 3), rounded."""
    pixels: Pixels = (x * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels


def to_tensor(pixels: Pixels, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (N, S, S, 3) -> (N, 3, S, S) in [0, 1]."""
    writable = np.require(pixels, requirements=["C", "W"])  # torch warns of what it may not write to
    return torch.from_numpy(writable).to(device).permute(0, 3, 1, 2).float() / 255


def brought_to(x: Tensor, size: int) -> Tensor:
    """(N, 3, T, T) on the 8-bit lattice -> (N, 3, S, S), by the rule that photos are resized by."""
    if x.shape[-1] == size:
        return x
    return to_tensor(np.stack([to_square(pixels, size) for pixels in to_pixels(x)]), x.device)
