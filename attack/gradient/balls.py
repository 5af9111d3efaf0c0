"""Balls about a picture within [0, 1]: projection, random points, steepest steps. N batch."""

from typing import Final, Literal

import torch
from torch import Tensor

from attack.draws import Draws

Norm = Literal["l_inf", "l_2"]
_TINY: Final = 1e-12


def lengths(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 1, 1, 1) Euclidean lengths."""
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms.view(-1, 1, 1, 1)


def project(x: Tensor, centre: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """The pictures `x` brought into the ball about `centre` and then into [0, 1]; both shapes (N, C, H, W).

    For L2 the two are done one after the other: what comes out lies in both sets, though it may not be the nearest
    such point.
    """
    offset = x - centre
    if norm == "l_inf":
        offset = offset.clamp(-epsilon, epsilon)
    else:
        offset = offset * (epsilon / lengths(offset).clamp(min=_TINY)).clamp(max=1)
    return (centre + offset).clamp(0, 1)


def random_point(centre: Tensor, epsilon: float, norm: Norm, draws: Draws) -> Tensor:
    """A uniform point of the ball about each picture, then clipped to [0, 1]."""
    shape = centre.shape[1:]
    if norm == "l_inf":
        offset = draws.uniform(*shape, low=-epsilon, high=epsilon)
    else:
        direction = draws.normal(*shape)
        radius = draws.uniform(1, 1, 1) ** (1 / direction[0].numel())
        offset = direction / lengths(direction).clamp(min=_TINY) * radius * epsilon
    return (centre + offset.to(centre)).clamp(0, 1)


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """The unit step of the norm's own kind that raises a linear function most."""
    if norm == "l_inf":
        return gradient.sign()
    return gradient / lengths(gradient).clamp(min=_TINY)


def gradient_of(values: Tensor, x: Tensor) -> Tensor:
    """The gradient in `x` of the sum of (N,) `values`: each picture's own gradient; 0 where it is not finite."""
    (gradient,) = torch.autograd.grad(values.sum(), x)
    return gradient.nan_to_num(0, 0, 0)
