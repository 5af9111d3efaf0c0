"""Which of a run's averaged weights its bundle holds, and when a run may end early."""

from typing import Final

from torch import Tensor

from train.config import TrainConfig
from train.validation import Validation

Score = tuple[float, float]
NONE: Final[Score] = (-1.0, -1.0)
"""Less than any."""


class Selection:
    """The weights to keep so far, by accuracy on `val`: robust, then natural; of plain cross-entropy natural alone."""

    def __init__(self, config: TrainConfig, weights: dict[str, Tensor]) -> None:
        self.natural, self.settings = config.loss.kind == "natural", config.validation
        self.best, self.best_score, self.stale = weights, NONE, 0

    @property
    def exhausted(self) -> bool:
        """Whether `patience` validations in a row were no better."""
        return self.stale >= self.settings.patience

    def see(self, validation: Validation, weights: dict[str, Tensor], *, full_strength: bool) -> None:
        """Keep a copy of `weights` if they are to be kept.

        While the schedule still rises no score is kept, so that the latest weights count, and the first ones at full
        strength beat them.
        """
        score = self._score(validation)
        if score > self.best_score or self.settings.keep == "last":
            self.best = {name: tensor.clone() for name, tensor in weights.items()}
            self.best_score, self.stale = (score if full_strength else NONE), 0
        else:
            self.stale += 1

    def _score(self, validation: Validation) -> Score:
        natural = validation.natural.at_100
        return (natural, 0.0) if self.natural else (validation.robust.at_100, natural)
