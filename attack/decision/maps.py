"""The kit's random spatial map for one picture on the lattice. S side."""

import numpy as np
import torch

from attack.spatial import SpatialRange, apply_maps
from model.pixels import Pixels


def random_map(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, dict[str, float]]:
    """(S, S, 3) -> the picture under one map drawn from the warm-up's span, and the map's parameters."""
    span = SpatialRange()
    angle, dx, dy = (rng.uniform(-limit, limit) for limit in (span.angle_degrees, span.shift, span.shift))
    x = torch.from_numpy(clean.copy()).permute(2, 0, 1)[None].float()
    mapped = apply_maps(x, torch.tensor([[angle, dx, dy]]), span.scale)
    pixels = mapped[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).contiguous().numpy()
    return pixels, {"angle_degrees": angle, "dx": dx, "dy": dy, "scale": span.scale}
