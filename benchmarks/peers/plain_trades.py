"""The peer of `benchmarks/trades_step.py`: a step of TRADES as public trainers write it, transcribed from the formula.

Two forward passes an inner step (the clean logits are computed anew for each) and three at the end, 2 K + 3 in all, in
eval mode and then in train mode, on a network laid out as it comes, in its own number format. N batch, K inner steps.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn


def plain_loss(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float,
    step_size: float,
    perturb_steps: int,
    beta: float,
    generator: Generator | None = None,
) -> Tensor:
    """(N, C, H, W) in [0, 1] and (N,) classes -> the loss, for the largest change of a value; leaves train mode."""
    model.eval()
    x_adv = x + 0.001 * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    for _ in range(perturb_steps):
        x_adv.requires_grad_(True)
        divergence = F.kl_div(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x), dim=1), reduction="sum")
        (gradient,) = torch.autograd.grad(divergence, [x_adv])
        x_adv = x_adv.detach() + step_size * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - epsilon), x + epsilon).clamp(0, 1)
    model.train()
    natural = F.cross_entropy(model(x), y)
    robust = F.kl_div(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x), dim=1), reduction="sum") / len(x)
    return natural + beta * robust


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, **settings: float) -> float:
    """One step of training; its loss."""
    loss = plain_loss(model, x, y, **settings)  # type: ignore[arg-type]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
