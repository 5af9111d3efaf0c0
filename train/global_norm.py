"""Batch normalisation with the statistics of the global batch, on any backend.

torch's SyncBatchNorm works on CUDA alone; this one is plain tensor code with one message a direction. N batch, C
channels, H height, W width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from train.ranks import Ranks


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics are those of all processes' rows together, equally many each."""

    ranks: Ranks

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        out, mean, variance = _normalise(input, self.weight, self.bias, self.eps, self.ranks)
        with torch.no_grad():
            count = self.ranks.world * input.numel() // input.shape[1]
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * count / max(count - 1, 1)).to(self.running_var.dtype), self.momentum)
        return out  # type: ignore[no-any-return]


def normalise_globally(network: nn.Module, ranks: Ranks) -> None:
    """Let every BatchNorm2d of the network use the global batch, in place: its tensors stay the objects they are."""
    if ranks.world == 1:
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm2d
            module.ranks = ranks  # type: ignore[assignment]


class _Normalise(Function):
    """out = (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance over N, H, W of all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(wide, dim=(0, 2, 3), correction=0)
        means, variances = ranks.gather(torch.stack([mean, variance])).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + means.var(0, correction=0)  # within the processes, and between them
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.ranks = ranks
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        wide, deviation = grad.to(mean.dtype), x.to(mean.dtype) - _spread(mean)
        own = torch.stack([wide.sum((0, 2, 3)), (wide * deviation).sum((0, 2, 3))])
        grad_bias, grad_weight = own[0].clone(), own[1] * inverse
        count = ctx.ranks.world * x.numel() // x.shape[1]
        along, across = ctx.ranks.sum_(own) / count
        moved = wide - _spread(along) - deviation * _spread(inverse.square() * across)
        grad_x = (moved * _spread(inverse * weight)).to(x.dtype)
        return grad_x, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None, None


_normalise: Any = _Normalise.apply


def _spread(channels: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, 1)."""
    return channels.view(1, -1, 1, 1)
