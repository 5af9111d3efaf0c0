"""Batch normalisation folded into the convolutions: the same function in eval mode, for fewer passes over memory."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Every batch normalisation that follows a convolution, folded into it; for eval mode. Works in place."""
    previous: tuple[nn.Module, str, nn.Conv2d] | None = None
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                previous = (parent, name, child)
            elif isinstance(child, nn.BatchNorm2d) and previous is not None:
                owner, convolution_name, convolution = previous
                setattr(owner, convolution_name, fuse_conv_bn_eval(convolution, child))
                setattr(parent, name, nn.Identity())
                previous = None
    return network
