"""One step of training, all of it on the device: augmentation, views, loss, optimiser, weight average.

N batch, S stored side. The attacks of a step run on a twin of the network: normalisations folded, nothing to train.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model.architecture import PixelClassifier
from model.errors import TrainingError
from model.folding import FoldedTwin
from model.small_maps import multiply_small_maps
from train.augment import augment
from train.average import WeightAverage
from train.capture import capture_passes
from train.compilation import compile_passes
from train.config import OptimizerConfig, TrainConfig
from train.global_norm import normalise_globally
from train.objective import objective
from train.precision import Passes, is_wanted, takes_bfloat16
from train.randomness import generator_of
from train.ranks import ALONE, Ranks
from train.schedule import Phase


class NotFiniteError(TrainingError):
    """The loss or its gradient is not finite; the weights are still those of the step before."""


class TrainStep:
    """The network and all that moves with it. Everything random in a call follows from (seed, number)."""

    def __init__(
        self, network: PixelClassifier, config: TrainConfig, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        torch.backends.cudnn.benchmark = device.type == "cuda"  # every batch has the same shape
        self.config, self.device, self.ranks = config, device, ranks
        self.rows = ranks.rows(config.batch_size)
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cpu":
            multiply_small_maps(self.network)
        self.bfloat16 = takes_bfloat16(config.precision, device)
        self.trained = Passes(self.network, bfloat16=self.bfloat16)
        self.twin = FoldedTwin(self.network, torch.bfloat16 if self.bfloat16 else None)
        self.attacked = Passes(self.twin.network, bfloat16=self.bfloat16)
        self.average = WeightAverage(self.network, config.optimizer.ema_decay)
        self.optimizer = make_optimizer(self.network, config.optimizer)
        normalise_globally(self.network, ranks)  # last, so that the copies above keep torch's own
        self._ahead: tuple[int, Tensor] | None = None
        """The number of a later step and its augmented photos."""

    def speed_up(self) -> None:
        """Compile and capture the passes where the configuration has it so; without this call they run plain.

        With several processes the attack's passes alone: in the others' midst stand messages.
        """
        side = self.config.input_size
        shape = (self.rows.stop - self.rows.start, 3, side, side)
        x = torch.rand(shape, generator=generator_of("speed up", device=self.device), device=self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        for make, wanted in ((compile_passes, self.config.compilation), (capture_passes, self.config.capture)):
            if not is_wanted(wanted, self.device):
                continue
            if self.config.loss.kind != "natural":
                make(self.attacked, x)
            if self.ranks.world == 1:
                make(self.trained, x)

    def __call__(
        self, photos: Tensor, y: Tensor, phase: Phase, number: int, following: Callable[[], Tensor] | None = None
    ) -> dict[str, float]:
        """One optimiser step on the global batch, (N, 3, S, S) uint8 photos and (N,) classes; its figures.

        `following` gives the photos of step `number + 1`: they are augmented while a GPU is still at work on this step.
        With several processes each works on its own rows once the photos are augmented, which mixes them. Raises
        NotFiniteError before such a loss meets the weights.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = phase.learning_rate
        x = self._augmented(photos, number)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        if phase.epsilon:
            self.twin.refresh()
        rows = self.rows
        views = self.ranks.generator_of(len(x), self.config.seed, "views", number, device=self.device)
        loss, figures = objective(self.trained, self.attacked, x[rows], y[rows], self.config, phase, views)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        self.ranks.average_([*gradients, *figures.values()])
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip_norm)
        if following is not None:
            self._ahead = number + 1, self._augmented(following(), number + 1)
        shown = _read({**figures, "gradient_norm": norm})
        if not (math.isfinite(shown["loss"]) and math.isfinite(shown["gradient_norm"])):
            raise NotFiniteError("the loss is not finite")
        self.optimizer.step()
        self.average.update(self.network, number)
        return shown

    def _augmented(self, photos: Tensor, number: int) -> Tensor:
        """Those of step `number`: made ahead, or now. They follow from (seed, number) either way."""
        if self._ahead is not None and self._ahead[0] == number:
            return self._ahead[1]
        generator = generator_of(self.config.seed, "augment", number, device=self.device)
        return augment(photos, self.config.input_size, self.config.augment, generator)

    def averaged_passes(self) -> Passes:
        """The averaged network, folded, to be validated in the precision of training."""
        folded = FoldedTwin(self.average.network, torch.bfloat16 if self.bfloat16 else None).network
        return Passes(folded, bfloat16=self.bfloat16)


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Fused: one pass over the weights. No decay on biases and normalisation."""
    weights = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        nesterov = config.nesterov and config.momentum > 0
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov, fused=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _read(figures: dict[str, Tensor]) -> dict[str, float]:
    """All scalars in one transfer: a GPU is waited for once a step."""
    return dict(zip(figures, torch.stack([value.float() for value in figures.values()]).tolist(), strict=True))
