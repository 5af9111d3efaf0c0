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

    The kit's rule: `sorted_descending[int(coverage * N) - 1]`, covered where confidence >= threshold. Ties over-cover.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must lie in (0, 1], not {coverage}")
    ranked = confidence(logits).sort(descending=True).values
    if len(ranked) == 0:
        raise ValueError("a threshold needs at least one example")
    return float(ranked[max(int(coverage * len(ranked)) - 1, 0)])
