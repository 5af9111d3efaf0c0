"""What one step minimises: TRADES, PGD cross-entropy or plain cross-entropy, on random views of the batch.

N batch, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from train.config import LossConfig, TrainConfig
from train.precision import folded
from train.randomness import generator_of
from train.schedule import Phase
from train.trades import ascend, attack_mode, trades_loss
from train.views import random_view, worst_view


def objective(
    network: nn.Module, x: Tensor, y: Tensor, config: TrainConfig, phase: Phase, step: int
) -> tuple[Tensor, dict[str, float]]:
    """(N, 3, H, W) in [0, 1] and (N,) classes -> the loss to differentiate, and its figures for the log."""
    span = config.spatial.span.scaled(phase.spatial_share)
    generator = generator_of(config.seed, "views", step, device=x.device)
    x_natural = _nhwc(random_view(x, span, generator) if config.spatial.both_views else x)
    if phase.epsilon == 0:
        return _cross_entropy(network, x_natural, y, config.loss)
    x_view = _nhwc(worst_view(network, x, x_natural, span, config.spatial.worst_of, generator))
    if config.loss.kind == "madry":
        return _cross_entropy(network, _pgd(network, x_view, y, config.loss, phase, generator), y, config.loss)
    return _trades(network, x_natural, x_view, y, config.loss, phase, generator)


def _trades(
    network: nn.Module,
    x_natural: Tensor,
    x_view: Tensor,
    y: Tensor,
    loss: LossConfig,
    phase: Phase,
    generator: Generator,
) -> tuple[Tensor, dict[str, float]]:
    terms = trades_loss(
        network,
        x_natural,
        y,
        epsilon=phase.epsilon,
        step_size=phase.step_size,
        perturb_steps=loss.perturb_steps,
        beta=loss.beta,
        distance=loss.distance,
        generator=generator,
        x_view=x_view,
        label_smoothing=loss.label_smoothing,
        attacked=folded(network),
    )
    return terms.loss, {
        "loss": terms.loss.item(),
        "loss_natural": terms.loss_natural.item(),
        "loss_robust": terms.loss_robust.item(),
        "natural": _share_right(terms.logits_natural, y),
        "robust": _share_right(terms.logits_adv, y),
    }


def _cross_entropy(network: nn.Module, x: Tensor, y: Tensor, loss: LossConfig) -> tuple[Tensor, dict[str, float]]:
    logits = network(x)
    value = F.cross_entropy(logits, y, label_smoothing=loss.label_smoothing)
    return value, {"loss": value.item(), "natural": _share_right(logits, y)}


def _pgd(network: nn.Module, x: Tensor, y: Tensor, loss: LossConfig, phase: Phase, generator: Generator) -> Tensor:
    """Madry et al. 2018: ascent on the cross-entropy."""
    attacked = folded(network)
    with attack_mode(attacked):
        return ascend(
            lambda moved: F.cross_entropy(attacked(moved), y, reduction="sum"),
            x,
            epsilon=phase.epsilon,
            step_size=phase.step_size,
            steps=loss.perturb_steps,
            distance=loss.distance,
            generator=generator,
        )


def _share_right(logits: Tensor, y: Tensor) -> float:
    return (logits.argmax(dim=1) == y).float().mean().item()


def _nhwc(x: Tensor) -> Tensor:
    """Channels last in memory: convolutions are faster so, on CPUs and GPUs."""
    return x.contiguous(memory_format=torch.channels_last)
