"""Auto-PGD (Croce and Hein 2020, arXiv:2003.01690): momentum, and steps that are halved when progress stalls. N batch.

Their difference-of-logits-ratio loss needs three classes; with two its denominator equals its numerator. The losses
here are cross-entropy and the margin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from attack.draws import Draws
from attack.gradient.balls import Norm, gradient_of, project, random_point, steepest
from attack.gradient.objective import Attacked, Model, comparable, keep_stronger, objective

MOMENTUM = 0.75
PROGRESS = 0.75
"""Steps are halved unless this share of the steps since the last checkpoint raised the loss."""


@dataclass(frozen=True)
class APGD:
    """Settings of the attack; lengths in units of [0, 1]."""

    norm: Norm = "l_inf"
    epsilon: float = 16 / 255
    steps: int = 100
    restarts: int = 1
    loss: Literal["cross_entropy", "margin"] = "margin"

    @property
    def passes(self) -> int:
        """Forward passes per picture; all are followed by a backward pass."""
        return self.restarts * (self.steps + 1)


def apgd(
    model: Model, x: Tensor, y: Tensor, seeds: Sequence[int], settings: APGD | None = None, abstain_below: float = -inf
) -> Attacked:
    """Attack (N, 3, H, W) pictures with (N,) labels; the point with the largest `objective` of all steps is kept."""
    settings = settings or APGD()
    draws = Draws(seeds, x.device)
    best = Attacked(x, torch.full((len(x),), -inf, device=x.device))
    for _ in range(settings.restarts):
        start = random_point(x, settings.epsilon, settings.norm, draws)
        best = _Ascent(model, x, y, settings, abstain_below).run(start, best)
    return best


def checkpoints(steps: int) -> list[int]:
    """After which steps progress is judged (section 3.1): 0.22 of all, then spans that shrink by 0.03 down to 0.06."""
    places, share, span = [0], 0.22, 0.22
    while share <= 1:
        places.append(ceil(round(share * steps, 6)))
        span = max(span - 0.03, 0.06)
        share += span
    return places


class _Ascent:
    """One restart. The step size, the best loss and the progress are each picture's own."""

    def __init__(self, model: Model, x: Tensor, y: Tensor, settings: APGD, abstain_below: float) -> None:
        self.model, self.x, self.y, self.settings, self.abstain_below = model, x, y, settings, abstain_below
        self.step = torch.full((len(x), 1, 1, 1), 2 * settings.epsilon, device=x.device)
        self.places = checkpoints(settings.steps)

    def run(self, start: Tensor, best: Attacked) -> Attacked:
        point, before = start, start
        loss, gradient, best = self._evaluate(point, best)
        top = _Top(point, gradient, loss)
        for k in range(self.settings.steps):
            momentum = MOMENTUM if k else 1.0
            ahead = self._projected(point + self.step * steepest(gradient, self.settings.norm))
            mixed = point + momentum * (ahead - point) + (1 - momentum) * (point - before)
            point, before = self._projected(mixed), point
            previous = loss
            loss, gradient, best = self._evaluate(point, best)
            top.note(point, gradient, loss, rose=loss > previous)
            if k + 1 in self.places:
                point, gradient = self._judge(top, point, gradient, k + 1)
        return best

    def _judge(self, top: "_Top", point: Tensor, gradient: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Halve the step and go back to the best point where progress stalled."""
        span = step - self.places[self.places.index(step) - 1]
        stalled = top.rises < PROGRESS * span
        stuck = ~top.halved & (top.loss <= top.loss_at_checkpoint)
        halve = stalled | stuck
        self.step = torch.where(halve.view(-1, 1, 1, 1), self.step / 2, self.step)
        top.begin_span(halve)
        back = halve.view(-1, 1, 1, 1)
        return top.point.where(back, point), top.gradient.where(back, gradient)

    def _evaluate(self, point: Tensor, best: Attacked) -> tuple[Tensor, Tensor, Attacked]:
        point = point.detach().requires_grad_(True)
        logits = self.model(point)
        values = objective(logits, self.y, self.abstain_below)
        by_class = self.settings.loss == "cross_entropy"
        loss = comparable(F.cross_entropy(logits, self.y, reduction="none")) if by_class else values
        gradient = gradient_of(loss, point)
        return loss.detach(), gradient, keep_stronger(best, point.detach(), values.detach())

    def _projected(self, point: Tensor) -> Tensor:
        return project(point, self.x, self.settings.epsilon, self.settings.norm)


class _Top:
    """The best point of a restart so far, and the progress since the last checkpoint; (N,) each."""

    def __init__(self, point: Tensor, gradient: Tensor, loss: Tensor) -> None:
        self.point, self.gradient, self.loss = point, gradient, loss
        self.loss_at_checkpoint = loss
        self.rises = torch.zeros_like(loss)
        self.halved = torch.ones_like(loss, dtype=torch.bool)

    def note(self, point: Tensor, gradient: Tensor, loss: Tensor, rose: Tensor) -> None:
        self.rises = self.rises + rose
        better = loss > self.loss
        wide = better.view(-1, 1, 1, 1)
        self.point, self.gradient = point.where(wide, self.point), gradient.where(wide, self.gradient)
        self.loss = loss.where(better, self.loss)

    def begin_span(self, halved: Tensor) -> None:
        self.rises = torch.zeros_like(self.rises)
        self.halved, self.loss_at_checkpoint = halved, self.loss
