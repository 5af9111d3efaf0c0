"""The Square attack (Andriushchenko et al. 2020, arXiv:1912.00049), L-inf: random search with square patches. N batch.

It needs logits but no gradients, so that a model that hides its gradients does not hide from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import torch
from torch import Tensor

from attack.draws import Draws
from attack.gradient.objective import Attacked, Model, objective

# Queries (of 10,000) after which the patch's share of the picture is halved once more.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class Square:
    """Settings of the attack; lengths in units of [0, 1]."""

    epsilon: float = 16 / 255
    queries: int = 1000
    first_share: float = 0.8
    """Share of the picture that the first patch covers."""

    @property
    def passes(self) -> int:
        """Forward passes per picture."""
        return self.queries

    def side(self, query: int, size: int) -> int:
        """Side in pixels of the patch at this query, for a picture of side `size`."""
        position = query / self.queries * 10_000
        share = self.first_share / (1 << sum(position > halving for halving in HALVINGS))
        return min(max(round(sqrt(share) * size), 1), size - 1)


@torch.no_grad()
def square(
    model: Model,
    x: Tensor,
    y: Tensor,
    seeds: Sequence[int],
    settings: Square | None = None,
    abstain_below: float = -inf,
) -> Attacked:
    """Raise `objective` of (N, 3, S, S) pictures with (N,) labels by a fixed number of queries each.

    Deviation: it does not stop at the first wrong answer, since a more confident mistake is a worse one.
    """
    settings = settings or Square()
    draws = Draws(seeds, x.device)
    size = x.shape[-1]
    stripes = _signs(draws, x.shape[1], 1, size)
    point = (x + settings.epsilon * stripes).clamp(0, 1)
    best = Attacked(point, objective(model(point), y, abstain_below))
    for query in range(1, settings.queries):
        probe = _with_patch(best.x, x, settings, settings.side(query, size), draws)
        found = objective(model(probe), y, abstain_below)
        better = found >= best.objective
        best = Attacked(probe.where(better[:, None, None, None], best.x), found.where(better, best.objective))
    return best


def _with_patch(best: Tensor, x: Tensor, settings: Square, side: int, draws: Draws) -> Tensor:
    """One square at a random place takes `x +- epsilon`, one sign a channel."""
    size = x.shape[-1]
    top, left = draws.integers(2, low=0, high=size - side + 1)[:, :, None].unbind(1)
    along = torch.arange(size, device=x.device)
    rows, columns = ((along >= start) & (along < start + side) for start in (top, left))
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    patch = (x + settings.epsilon * _signs(draws, x.shape[1], 1, 1)).clamp(0, 1)
    return patch.where(inside, best)


def _signs(draws: Draws, *shape: int) -> Tensor:
    return draws.integers(*shape, low=0, high=2).float() * 2 - 1
