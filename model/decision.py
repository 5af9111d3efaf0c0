"""From logits to an answer: bicycle, bird or abstain. N batch."""

import torch
from torch import Tensor

from model.answers import answers
from model.labels import CLASSES


def confidence(logits: Tensor) -> Tensor:
    """(N, 2) logits -> (N,) confidence: the largest raw logit, as the challenge's kit ranks photos."""
    return logits.max(dim=1).values


def decide(logits: Tensor, abstain_below: float, classes: tuple[str, ...] = CLASSES) -> list[str]:
    """(N, classes) logits on any device -> N labels; the rule is that of `model.answers`."""
    logits = logits.detach().cpu()
    return answers((logits if logits.dtype != torch.bfloat16 else logits.float()).numpy(), abstain_below, classes)


def calibrate(logits: Tensor, coverage: float) -> float:
    """The threshold that covers the share `coverage` in (0, 1] of these (N, 2) logits.

    It covers what the kit's rule covers, the `int(coverage * N)` most confident photos and their ties, but lies halfway
    to the next confidence: rounding noise of another runtime moves no photo over it.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must lie in (0, 1], not {coverage}")
    ranked = confidence(logits).double().sort(descending=True).values
    if len(ranked) == 0:
        raise ValueError("a threshold needs at least one example")
    least = float(ranked[max(int(coverage * len(ranked)) - 1, 0)])
    excluded = ranked[ranked < least]
    following = float(excluded[0]) if len(excluded) else least - 1e-3 * (1 + abs(least))
    return (least + following) / 2
