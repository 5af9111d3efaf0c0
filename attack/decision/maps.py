"""What changes a picture as a whole: the kit's random map, its spatial grids, and the common corruptions, by labels.

M maps or corrupted pictures, S side, D = 3 S S.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from attack.decision.problem import Attack, Problem
from attack.transforms.corruptions import KIT_CORRUPTIONS, corrupt
from attack.transforms.grid import DOCUMENTED, KIT, bordered, moved
from attack.transforms.pixels import brought_to, to_pixels, to_tensor
from attack.transforms.spatial import KIT_SIZE, SpatialRange, apply_maps
from model.pixels import Pixels

CHUNK = 25


def random_map(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, dict[str, float]]:
    """(S, S, 3) -> the picture under one map drawn from the warm-up's span, and the map's parameters."""
    span = SpatialRange()
    angle, dx, dy = (rng.uniform(-limit, limit) for limit in (span.angle_degrees, span.shift, span.shift))
    mapped = apply_maps(to_tensor(clean[None]), torch.tensor([[angle, dx, dy]]), span.scale)
    return to_pixels(mapped)[0], {"angle_degrees": angle, "dx": dx, "dy": dy, "scale": span.scale}


def spatial_grid(problem: Problem, grid: Literal["kit", "documented"]) -> Attack:
    """The 775 maps of a grid, until one is answered wrongly; `kit` as it ran, `documented` as it was meant."""
    x = to_tensor(bordered(_square(problem))[None])
    every = (KIT if grid == "kit" else DOCUMENTED).maps
    for maps in (every[begin : begin + CHUNK] for begin in range(0, len(every), CHUNK)):
        if (yield _probes(moved(x.expand(len(maps), -1, -1, -1), maps))).any():
            return


def corruptions(problem: Problem) -> Attack:
    """The kit's 17 corruptions at severity 1, at 224 px, which they are published for; then at the endpoint's side.

    Without the photo at that side, the original is corrupted as it is: below 224 px that is stronger.
    """
    photo = _square(problem) if problem.photo_at is None else problem.photo_at(KIT_SIZE)
    x = to_tensor(photo[None])
    seed = int(problem.rng.integers(2**31))
    corrupted = (corrupt(x, name, 1, [seed]) for name in KIT_CORRUPTIONS)
    yield np.concatenate([_probes(brought_to(one, problem.side)) for one in corrupted])


def _square(problem: Problem) -> Pixels:
    """(S, S, 3)"""
    return problem.original.astype(np.uint8).reshape(problem.side, problem.side, 3)


def _probes(x: Tensor) -> Pixels:
    """(M, 3, S, S) -> (M, D)."""
    return to_pixels(x).reshape(len(x), -1)
