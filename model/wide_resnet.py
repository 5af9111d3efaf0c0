"""The wide residual network of Zagoruyko and Komodakis 2016 (arXiv:1605.07146), as TRADES used it on CIFAR.

N batch, C channels, H height, W width. Normalisation and activation come before each convolution; no dropout.
"""

from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS: Final = (16, 32, 64)
"""Channels of the three groups at widening factor 1."""


class WideResNet(nn.Module):
    """WRN-`depth`-`widen`; (N, 3, H, W) -> (N, classes). `depth` is 6 n + 4: n blocks of two convolutions a group."""

    def __init__(self, depth: int, widen: int, num_classes: int) -> None:
        super().__init__()
        if depth % 6 != 4:
            raise ValueError(f"the depth of a wide ResNet is 6 n + 4, not {depth}")
        self.conv1 = _convolution(3, WIDTHS[0])
        blocks: list[nn.Module] = []
        before = WIDTHS[0]
        for group, width in enumerate(WIDTHS):
            for number in range((depth - 4) // 6):
                stride = 2 if group > 0 and number == 0 else 1
                blocks.append(Block(before, width * widen, stride))
                before = width * widen
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(before)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes) logits."""
        x = self.relu(self.bn(self.blocks(self.conv1(x))))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; where the width changes, both start from the activated input."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = _convolution(before, after, stride)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = _convolution(after, after)
        self.shortcut = None if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        activated = self.relu1(self.bn1(x))
        beside = x if self.shortcut is None else self.shortcut(activated)
        out: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return out + beside


def _convolution(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
