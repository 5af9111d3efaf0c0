"""Projected gradient ascent (Madry et al. 2018, arXiv:1706.06083), L-inf and L2, with restarts. N batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from attack.draws import Draws
from attack.gradient.balls import Norm, gradient_of, project, random_point, steepest
from attack.gradient.objective import Attacked, Model, keep_stronger, objective


@dataclass(frozen=True)
class PGD:
    """Settings of the attack; lengths in units of [0, 1]."""

    norm: Norm = "l_inf"
    epsilon: float = 16 / 255
    steps: int = 40
    restarts: int = 1
    """Starts, each a random point of the ball."""
    relative_step: float = 2.5
    """The step is this times `epsilon / steps`: long enough to reach any point of the ball and to turn round."""

    @property
    def passes(self) -> int:
        """Forward passes per picture; all but one a restart are followed by a backward pass."""
        return self.restarts * (self.steps + 1)


def pgd(
    model: Model, x: Tensor, y: Tensor, seeds: Sequence[int], settings: PGD | None = None, abstain_below: float = -inf
) -> Attacked:
    """Raise `objective` of (N, 3, H, W) pictures with (N,) labels; the best point of all steps and restarts is kept.

    A seed a picture: its random starts do not depend on the batch. Deviation from the paper: the objective is the
    margin, not the cross-entropy, whose gradient vanishes where the model is confident.
    """
    settings = settings or PGD()
    step = settings.relative_step * settings.epsilon / settings.steps
    draws = Draws(seeds, x.device)
    best = Attacked(x, torch.full((len(x),), -inf, device=x.device))
    for _ in range(settings.restarts):
        point = random_point(x, settings.epsilon, settings.norm, draws)
        for _ in range(settings.steps):
            point = point.detach().requires_grad_(True)
            values = objective(model(point), y, abstain_below)
            ascent = steepest(gradient_of(values, point), settings.norm)
            best = keep_stronger(best, point.detach(), values.detach())
            point = project(point.detach() + step * ascent, x, settings.epsilon, settings.norm)
        with torch.no_grad():
            best = keep_stronger(best, point, objective(model(point), y, abstain_below))
    return best
