"""What changes while a run goes on, as a pure function of the epoch: it starts easy."""

import math
from dataclasses import dataclass

from model.errors import ConfigError
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


class Timetable:
    """The steps of a run on so many photos, counted from 0."""

    def __init__(self, config: TrainConfig, photos: int) -> None:
        """Raises ConfigError where no step has full strength: a bundle would name a loss and maps that it never saw."""
        self.config = config
        self.steps_per_epoch = max(photos // config.batch_size, 1)
        self.total_steps = max(round(config.epochs * self.steps_per_epoch), 1)
        if not self.phase(self.total_steps - 1).full_strength:
            raise ConfigError(
                f"epochs = {config.epochs:g} of {photos} photos end before a step at full strength; lower "
                "loss.natural_epochs, loss.epsilon_warmup_epochs or spatial.warmup_epochs"
            )

    def epoch(self, step: int) -> float:
        """Passes done before a step, with a fraction."""
        return step / self.steps_per_epoch

    def phase(self, step: int) -> Phase:
        """The settings of a step."""
        return phase_at(self.config, self.epoch(step))


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
    warmup = epochs / 4 if optimizer.schedule == "one_cycle" else optimizer.warmup_epochs
    if epoch < warmup:
        return max(epoch / warmup, 1e-3)
    if optimizer.schedule == "steps":
        return 0.1 ** sum(epoch >= decay for decay in optimizer.decay_epochs)
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
