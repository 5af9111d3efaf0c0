"""From logits to an answer: bicycle, bird or abstain. N batch. No torch here: the CPU service runs without it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from model.labels import ABSTAIN, CLASSES


def answers(
    logits: npt.NDArray[np.floating[Any]], abstain_below: float, classes: tuple[str, ...] = CLASSES
) -> list[str]:
    """(N, classes) logits -> N labels: `abstain` where the confidence is below the threshold, else the largest's class.

    Confidence is the largest logit. Of equal logits the first counts, as in the challenge's kit. Logits that are not
    finite abstain: they are no evidence.
    """
    winners = logits.argmax(axis=1).tolist()
    certain = ((logits.max(axis=1) >= abstain_below) & np.isfinite(logits).all(axis=1)).tolist()
    return [classes[winner] if sure else ABSTAIN for winner, sure in zip(winners, certain, strict=True)]
