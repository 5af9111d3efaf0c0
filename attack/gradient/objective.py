"""What an attack on a two-class model that may abstain wants to raise. N batch."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

from torch import Tensor

Model = Callable[[Tensor], Tensor]
"""(N, 3, H, W) in [0, 1] -> (N, 2) logits."""


class Attacked(NamedTuple):
    """The strongest pictures an attack found."""

    x: Tensor
    """(N, 3, H, W) in [0, 1]."""
    objective: Tensor
    """(N,) `objective` of these pictures."""


def split(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 2) logits and (N,) labels -> (N,) right logits, (N,) wrong logits."""
    right = logits.gather(1, y[:, None]).squeeze(1)
    wrong = logits.gather(1, 1 - y[:, None]).squeeze(1)
    return right, wrong


def objective(logits: Tensor, y: Tensor, abstain_below: float = -inf) -> Tensor:
    """(N,) above zero where the model answers the wrong class and does not abstain.

    The smaller of `wrong - right` (the margin) and `wrong - abstain_below` (the confidence, once the answer is wrong).
    Where it is not finite it is -inf: such an answer counts as wrong, but with no confidence.
    """
    right, wrong = split(logits, y)
    margin = wrong - right
    return comparable(margin if abstain_below == -inf else margin.minimum(wrong - abstain_below))


def comparable(values: Tensor) -> Tensor:
    """(N,) values; what is not finite ranks below all, so that a search goes on from it."""
    return values.where(values.isfinite(), -inf)


def keep_stronger(best: Attacked, x: Tensor, found: Tensor) -> Attacked:
    """Picture by picture the one with the larger objective; the earlier one where they are equal."""
    better = found > best.objective
    return Attacked(x.where(better[:, None, None, None], best.x), found.where(better, best.objective))
