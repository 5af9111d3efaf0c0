"""What changes while a run goes on, as a pure function of the epoch: it starts easy."""

import math
from dataclasses import dataclass

from train.config import LossConfig, OptimizerConfig, SpatialConfig, TrainConfig


@dataclass(frozen=True)
class Phase:
    """The settings of one step."""

    learning_rate: float
    epsilon: float
    """0 while the loss is plain cross-entropy."""
    step_size: float
    spatial_share: float
    """Share in [0, 1] of the maps' full span."""
    full_strength: bool
    """Whether maps and ball have their full size."""


def phase_at(config: TrainConfig, epoch: float) -> Phase:
    """The settings at `epoch` in [0, config.epochs)."""
    share, spatial_share = _epsilon_share(config.loss, epoch), _spatial_share(config.spatial, epoch)
    return Phase(
        learning_rate=config.optimizer.learning_rate * _rate_share(config.optimizer, epoch, config.epochs),
        epsilon=config.loss.epsilon * share,
        step_size=config.loss.step_size * share,
        spatial_share=spatial_share,
        full_strength=spatial_share == 1 and (share == 1 or config.loss.kind == "natural"),
    )


def _epsilon_share(loss: LossConfig, epoch: float) -> float:
    if loss.kind == "natural" or epoch < loss.natural_epochs:
        return 0.0
    # Never 0 in the robust phase: a ball without radius has no inside to search.
    return _ramp(epoch - loss.natural_epochs, loss.epsilon_warmup_epochs, least=0.05)


def _spatial_share(spatial: SpatialConfig, epoch: float) -> float:
    return _ramp(epoch, spatial.warmup_epochs, least=0.0)


def _ramp(epoch: float, length: float, least: float) -> float:
    return 1.0 if epoch >= length else max(epoch / length, least)


def _rate_share(optimizer: OptimizerConfig, epoch: float, epochs: float) -> float:
    warmup = epochs / 4 if optimizer.schedule == "one_cycle" else min(optimizer.warmup_epochs, epochs)
    if epoch < warmup:
        return max(epoch / warmup, 1e-3)
    if optimizer.schedule == "steps":
        return 0.1 ** sum(epoch >= decay for decay in optimizer.decay_epochs)
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / max(epochs - warmup, 1e-9)))
