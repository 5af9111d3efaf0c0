"""SPSA (Uesato et al. 2018, arXiv:1802.05666) as the challenge's kit runs it: logits, no gradients. One picture a task.

M samples of a step. A task is a generator: it yields pictures and receives their logits, so that many tasks share full
batches (`attack.gradient.pool`).
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from attack.gradient.objective import split

Task = Generator[Tensor, Tensor, Tensor]
"""Yields (M, 3, H, W) pictures, receives (M, 2) logits, returns the (3, H, W) result."""
BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-9
LARGEST = 1e18
"""Of a margin that is evidence: the square of a larger one is not finite."""


@dataclass(frozen=True)
class SPSA:
    """The kit's parameters; lengths in units of [0, 1]."""

    epsilon: float = 16 / 255
    steps: int = 200
    samples: int = 64
    """Pictures evaluated for one estimate of the gradient: pairs mirrored at the current point."""
    learning_rate: float = 0.01
    delta: float = 0.01
    """How far a sample lies from the current point, in each value."""
    stop_below: float = -1.0
    """Stop once the margin `right - wrong` at the current point is below this."""

    @property
    def passes(self) -> int:
        """Forward passes at most; the kit's check for the stop is one more picture a step."""
        return self.steps * (self.samples + 1)


def spsa(x: Tensor, y: int, generator: torch.Generator, settings: SPSA | None = None) -> Task:
    """Lower the margin of one picture (3, H, W) with label `y` by Adam on estimated gradients.

    As the kit: a random start in the ball, samples that are not clipped to [0, 1], each step projected onto the ball
    and onto [0, 1]. The check for the stop travels with the samples of the next step; what it lets through is the same.
    A pair with a margin that is not finite says nothing of the gradient, and is left out of the estimate.
    """
    settings = settings or SPSA()
    start = torch.rand(x.shape, generator=generator, device=x.device) * 2 - 1
    point = _projected(x + settings.epsilon * start, x, settings.epsilon)
    mean = square = torch.zeros_like(x)
    for step in range(1, settings.steps + 1):
        signs = _signs(settings.samples // 2, x, generator)
        samples = settings.delta * signs
        logits = yield torch.cat([point + samples, point - samples, point[None]])
        margins = _margins(logits, y)
        if step > 1 and margins[-1] < settings.stop_below:
            return point
        pairs = margins[:-1].view(2, -1, 1, 1, 1)
        pairs = pairs.where((pairs.abs() < LARGEST).all(dim=0), 0)
        estimate = (pairs * torch.stack([signs, -signs])).mean(dim=(0, 1))
        mean = BETA_1 * mean + (1 - BETA_1) * estimate
        square = BETA_2 * square + (1 - BETA_2) * estimate**2
        direction = (mean / (1 - BETA_1**step)) / ((square / (1 - BETA_2**step)).sqrt() + ADAM_EPSILON)
        point = _projected(point - settings.learning_rate * direction, x, settings.epsilon)
    return point


def _margins(logits: Tensor, y: int) -> Tensor:
    right, wrong = split(logits, torch.full((len(logits),), y, device=logits.device))
    return right - wrong


def _projected(point: Tensor, x: Tensor, epsilon: float) -> Tensor:
    return (x + (point - x).clamp(-epsilon, epsilon)).clamp(0, 1)


def _signs(n: int, x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (n, *x.shape), generator=generator, device=x.device, dtype=x.dtype) * 2 - 1
