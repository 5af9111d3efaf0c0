"""In which number format the passes through the network run, and in which form. N batch, H height, W width."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "float32", "bfloat16"]
Wanted = Literal["auto", "on", "off"]
"""Whether passes take a faster form; `auto` on CUDA."""


class Passes(nn.Module):
    """A network whose forward passes, and so their gradients, run in bfloat16 autocast, or as they are.

    Input (N, 3, H, W) in [0, 1] of any floating point type; output (N, classes) logits of at least float32.
    Everything around the network (maps, perturbations, losses, weights) keeps its own type.
    """

    def __init__(self, network: nn.Module, *, bfloat16: bool) -> None:
        super().__init__()
        self.network, self.autocast = network, bfloat16
        self.run: Callable[[Tensor], Tensor] = self.plain
        """What a pass runs: `plain`, or the same compiled, captured or both (`compilation` and `capture` in train/)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes) logits."""
        return self.run(x)

    def plain(self, x: Tensor) -> Tensor:
        """As `forward`, never compiled."""
        if not self.autocast:
            plain: Tensor = self.network(x)
            return plain
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x).float()  # type: ignore[no-any-return]


def takes_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether passes on `device` run in bfloat16: asked for, or `auto` on hardware that multiplies it fast."""
    if precision == "auto":
        return device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return precision == "bfloat16"


def is_wanted(wanted: Wanted, device: torch.device) -> bool:
    """Whether passes on `device` take the faster form: asked for, or `auto` on CUDA."""
    return wanted == "on" or (wanted == "auto" and device.type == "cuda")
