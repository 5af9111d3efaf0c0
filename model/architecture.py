"""The network: pixels in [0, 1] to two logits, bicycle first.

N batch, C channels (RGB), H height, W width.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from model import exposure
from model.metadata import Architecture
from model.vision import torchvision
from model.wide_resnet import WideResNet

__all__ = ["Architecture", "PixelClassifier"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PixelClassifier(nn.Module):
    """A ResNet with the normalisation inside and two outputs, or `classes` of them for a benchmark of the literature.

    Input: (N, 3, H, W) floating point in [0, 1], any H and W from 32. Output: (N, 2) logits, bicycle 0, bird 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture | None = None, classes: int = 2) -> None:
        super().__init__()
        self.architecture = architecture or Architecture()
        self.backbone: Any = _backbone(self.architecture.backbone, classes)
        if self.architecture.activation == "silu":
            _replace_relu_by_silu(self.backbone)
        _centre(self.backbone.fc)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 2) logits."""
        if self.architecture.exposure == "local":
            x = _local_light_removed(x, self.architecture.light_removed)
        if self.architecture.exposure != "fixed":
            x = _exposed(x, self.architecture.contrast_floor)
        logits: Tensor = self.backbone((x - self.mean) / self.std)
        return logits


@fx.wrap
def _local_light_removed(x: Tensor, share: float) -> Tensor:
    """(N, 3, H, W) without each channel's mean, and without a share of the grey light around each pixel.

    One piece for a tracer, since its Gaussian depends on the size.
    """
    x = x - x.mean(dim=(2, 3), keepdim=True)
    height, width = (_gaussian(side, x) for side in x.shape[-2:])
    light = height @ x.mean(dim=1, keepdim=True) @ width.T
    return x - share * light


def _gaussian(side: int, like: Tensor) -> Tensor:
    """(side, side): each row the weights of a Gaussian around its place, which sum to 1 at the border too."""
    place = torch.arange(side, device=like.device) / (exposure.LOCAL_RADIUS * side)
    return (-(place[:, None] - place).square() / 2).softmax(dim=1).to(like.dtype)


def _exposed(x: Tensor, floor: float) -> Tensor:
    """Each picture of (N, 3, H, W) at the same mean and nearly the same standard deviation."""
    x = x - x.mean(dim=(1, 2, 3), keepdim=True)
    spread = ((x * x).mean(dim=(1, 2, 3), keepdim=True) + floor**2).sqrt()
    return exposure.MEAN + exposure.SPREAD * x / spread


def _backbone(name: str, classes: int) -> Any:
    if name.startswith("wrn_"):
        _, depth, widen = name.split("_")
        return WideResNet(int(depth), int(widen), classes)
    return getattr(torchvision.models, name)(num_classes=classes)


def _replace_relu_by_silu(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.SiLU(inplace=True))
        else:
            _replace_relu_by_silu(child)


@torch.no_grad()
def _centre(head: nn.Linear) -> None:
    """Make the two logits opposite, so that the larger one, the kit's confidence, is half the margin between them.

    Only the margin is ever trained: gradients of cross-entropy and KL are opposite too and keep it so. Without this
    start the common part of the logits stays random, and photos would be ranked by noise.
    """
    head.weight.sub_(head.weight.mean(dim=0))
    head.bias.sub_(head.bias.mean())
