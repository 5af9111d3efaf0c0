"""What one step minimises: TRADES, PGD cross-entropy or plain cross-entropy, on random views of the batch.

N batch, H height, W width.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from train.config import LossConfig, TrainConfig
from train.schedule import Phase
from train.trades import ascend, attack_mode, trades_loss
from train.views import random_view, worst_view

Figures = dict[str, Tensor]
"""Scalars on the device of the network; reading one waits for the device."""


def objective(
    network: nn.Module,
    attacked: nn.Module,
    x: Tensor,
    y: Tensor,
    config: TrainConfig,
    phase: Phase,
    generator: Generator,
) -> tuple[Tensor, Figures]:
    """(N, 3, H, W) in [0, 1] and (N,) classes -> the loss to differentiate, and its figures for the log.

    `attacked` computes what `network` computes in eval mode; perturbations and worst maps are searched on it.
    The generator gives the maps and the noise.
    """
    span = config.spatial.span.scaled(phase.spatial_share)
    own_map = partial(random_view, x, span, generator)
    natural: Callable[[], Tensor] = own_map if config.spatial.both_views else lambda: x
    if phase.epsilon == 0:
        return _cross_entropy(network, natural(), y, config.loss, "natural")
    worst = partial(worst_view, attacked, x, span=span, k=config.spatial.worst_of, generator=generator)
    if config.loss.kind == "madry":
        # A single map needs no natural view to disagree with.
        x_view = own_map() if config.spatial.worst_of == 1 else worst(_clean(attacked, natural()))
        x_adv = _pgd(attacked, x_view, y, config.loss, phase, generator)
        return _cross_entropy(network, x_adv, y, config.loss, "robust")
    loss = config.loss
    terms = trades_loss(
        network,
        natural(),
        y,
        epsilon=phase.epsilon,
        step_size=phase.step_size,
        perturb_steps=loss.perturb_steps,
        beta=loss.beta,
        distance=loss.distance,
        generator=generator,
        x_view=worst,
        label_smoothing=loss.label_smoothing,
        attacked=attacked,
    )
    return terms.loss, {
        "loss": terms.loss.detach(),
        "loss_natural": terms.loss_natural.detach(),
        "loss_robust": terms.loss_robust.detach(),
        "natural": _share_right(terms.logits_natural, y),
        "robust": _share_right(terms.logits_adv, y),
    }


def _cross_entropy(
    network: nn.Module, x: Tensor, y: Tensor, loss: LossConfig, accuracy: Literal["natural", "robust"]
) -> tuple[Tensor, Figures]:
    logits = network(x)
    value = F.cross_entropy(logits, y, label_smoothing=loss.label_smoothing)
    return value, {"loss": value.detach(), accuracy: _share_right(logits, y)}


def _pgd(attacked: nn.Module, x: Tensor, y: Tensor, loss: LossConfig, phase: Phase, generator: Generator) -> Tensor:
    """Madry et al. 2018: ascent on the cross-entropy."""
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


def _clean(attacked: nn.Module, x: Tensor) -> Tensor:
    """(N, classes) log probabilities."""
    with attack_mode(attacked), torch.no_grad():
        return F.log_softmax(attacked(x), dim=1)


def _share_right(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.detach().argmax(dim=1) == y).float().mean()
