"""From logits to an answer: bicycle, bird or abstain. N batch."""

from torch import Tensor

from model.labels import ABSTAIN, CLASSES


def confidence(logits: Tensor) -> Tensor:
    """(N, 2) logits -> (N,) confidence: the largest raw logit, as the challenge's kit ranks photos."""
    return logits.max(dim=1).values


def decide(logits: Tensor, abstain_below: float) -> list[str]:
    """(N, 2) logits -> N labels: `abstain` where the confidence is below the threshold, else the larger logit's class.

    Equal logits count as class 0, as in the kit. Logits that are not finite abstain: they are no evidence.
    """
    winners = (logits[:, 1] > logits[:, 0]).tolist()
    certain = ((confidence(logits) >= abstain_below) & logits.isfinite().all(dim=1)).tolist()
    return [CLASSES[winner] if sure else ABSTAIN for winner, sure in zip(winners, certain, strict=True)]


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
