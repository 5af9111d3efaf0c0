"""Convolutions of small maps as products of matrices: the same function, several times faster on a CPU.

oneDNN's convolutions run over the width of a map. The last stages of a ResNet-50 at 64 px have maps of 4 x 4 and 2 x 2
and leave them little to run over: there the product of all patches with the weights takes a third to a tenth of the
time, most of all for the gradient of the weights.

N batch, C channels, O output channels, H height, W width, k side of the kernel.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_PIXELS: Final = {1: 16, 3: 4}
"""By the kernel's side, the largest output map that is cheaper as a product. Larger kernels: never."""


class SmallMapConv2d(nn.Conv2d):
    """`nn.Conv2d` that multiplies matrices where its input lies on a CPU and its output map is small."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, H', W')."""
        if x.device.type != "cpu" or self._output_pixels(x) > MOST_PIXELS[self.kernel_size[0]]:
            return super().forward(x)
        patches = self._patches(x)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        rows = F.linear(patches.flatten(0, 2), weight, self.bias)  # of more than two axes it makes a product a row
        return rows.view(*patches.shape[:3], -1).permute(0, 3, 1, 2)

    def _output_side(self, side: int) -> int:
        return (side + 2 * int(self.padding[0]) - self.kernel_size[0]) // self.stride[0] + 1

    def _output_pixels(self, x: Tensor) -> int:
        return self._output_side(x.shape[2]) * self._output_side(x.shape[3])

    def _patches(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, H', W', k * k * C), channels running fastest: of channels_last pictures and weights."""
        side, stride, pad = self.kernel_size[0], self.stride[0], int(self.padding[0])
        last_row, last_column = (stride * (self._output_side(n) - 1) + 1 for n in x.shape[2:])
        x = x.permute(0, 2, 3, 1)
        if pad:
            x = F.pad(x, (0, 0, pad, pad, pad, pad))
        taps = [x[:, i : i + last_row : stride, j : j + last_column : stride] for i in range(side) for j in range(side)]
        return taps[0] if len(taps) == 1 else torch.cat(taps, dim=3)


def multiply_small_maps(network: nn.Module) -> None:
    """Turn every convolution of `network` that can be one into a SmallMapConv2d, in place; weights stay as they are."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = SmallMapConv2d


def _is_plain(conv: nn.Conv2d) -> bool:
    square = all(len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride, conv.padding, conv.dilation))
    return (
        square
        and conv.kernel_size[0] in MOST_PIXELS
        and conv.dilation[0] == conv.groups == 1
        and conv.padding_mode == "zeros"
    )
