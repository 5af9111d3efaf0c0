"""Is the GPU right? The TRADES loss against float64 on the CPU; labels in half precision; bits in any company.

N images, S side.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.pixels import Pixels
from model.runtime import Runtime
from train.precision import Passes
from train.trades import TradesTerms, trades_loss


def loss_errors(network: nn.Module, x: Tensor, y: Tensor, device: str, perturb_steps: int = 10) -> dict[str, Any]:
    """How far the loss and its gradient on `device` are from the CPU's in float64: norm(out - ref) / norm(ref).

    network: on the CPU, float32. x: (N, 3, S, S) in [0, 1], float32. The start's noise is the same for all. A sign step
    amplifies rounding where a gradient is near zero, so single pixels of x_adv may differ by twice the step.
    """
    noise = 1e-3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def terms(where: str, dtype: torch.dtype, bfloat16: bool = False) -> tuple[TradesTerms, Tensor]:
        twin = copy.deepcopy(network).to(where, dtype).train()
        with _same_start(noise):
            found = trades_loss(
                Passes(twin, bfloat16=bfloat16), x.to(where, dtype), y.to(where), perturb_steps=perturb_steps
            )
        found.loss.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad.flatten() for weight in twin.parameters() if weight.grad is not None]
        return found, torch.cat(gradients).double().cpu()

    exact, exact_gradient = terms("cpu", torch.float64)
    forms = {"float64": (torch.float64, False), "float32": (torch.float32, False), "bfloat16": (torch.float32, True)}
    errors: dict[str, Any] = {}
    with _without_tf32():
        for name, (dtype, bfloat16) in forms.items():
            found, gradient = terms(device, dtype, bfloat16)
            moved = (found.x_adv.double().cpu() - exact.x_adv).abs() > 1e-4
            errors[name] = {
                "loss": _relative(found.loss.detach().double().cpu(), exact.loss.detach()),
                "loss_robust": _relative(found.loss_robust.detach().double().cpu(), exact.loss_robust.detach()),
                "gradient": _relative(gradient, exact_gradient),
                "pixels_elsewhere": moved.double().mean().item(),
            }
    return errors


def rows_with_other_bits(runtime: Runtime, pixels: Pixels, seed: int = 0) -> int:
    """How many images' logits change by a bit in other company, order and number than alone; 0 is right."""
    alone = np.concatenate([runtime.logits(pixels[i : i + 1]) for i in range(len(pixels))])
    draw = np.random.default_rng(seed)
    different = np.zeros(len(pixels), bool)
    for most in (3, runtime.batch_sizes[-1] - 1, runtime.batch_sizes[-1], 2 * runtime.batch_sizes[-1] + 1):
        order, start = draw.permutation(len(pixels)), 0
        while start < len(order):
            part = order[start : start + int(draw.integers(1, max(most, 1) + 1))]
            different[part] |= _rows_differ(runtime.logits(pixels[part]), alone[part])
            start += len(part)
    return int(different.sum())


def label_changes(exact: Runtime, other: Runtime, pixels: Pixels) -> dict[str, Any]:
    """Labels of `other` that are not those of `exact`, and the largest distance of their logits."""
    one, two = exact.logits(pixels), other.logits(pixels)
    changed = sum(a != b for a, b in zip(exact.decide(one), other.decide(two), strict=True))
    return {"photos": len(pixels), "labels_changed": changed, "largest_logit_distance": float(np.abs(one - two).max())}


def _rows_differ(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    differ: npt.NDArray[np.bool_] = (one.view(np.uint32) != other.view(np.uint32)).any(axis=1)
    return differ


def _relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@contextmanager
def _same_start(noise: Tensor) -> Iterator[None]:
    """Generators of two devices draw different numbers: every device starts from these."""
    standard = noise / 1e-3
    with patch("train.trades._normal", lambda like, _n, _generator: standard.to(like)):
        yield


@contextmanager
def _without_tf32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
