"""Scores of a classifier that may abstain: the kit's rule, a tie-aware one, intervals, risk against coverage.

N photos. Classes: bicycle 0, bird 1. Logits are (N, 2), labels (N,) of 0 and 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from model.labels import ABSTAIN, CLASSES

Logits = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]
Z_95: Final = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


class Interval(NamedTuple):
    """Two ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """How many photos were answered, and how many of these answers were wrong."""

    covered: int
    errors: int

    @property
    def accuracy(self) -> float | None:
        """Share of right answers among the covered; none where nothing is covered."""
        return 1 - self.errors / self.covered if self.covered else None

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval of the accuracy."""
        return wilson(self.covered - self.errors, self.covered)


@dataclass(frozen=True)
class TieAwareScore:
    """Exactly `covered` photos answered; where the threshold cuts through equal confidences the errors are a range."""

    covered: int
    errors_low: int
    errors_high: int
    errors_expected: float
    """The mean over all ways to choose among the tied photos."""

    @property
    def accuracy(self) -> float:
        """The expected share of right answers among the covered."""
        return 1 - self.errors_expected / self.covered


def predict(logits: Logits) -> Labels:
    """(N, 2) logits -> (N,) classes; equal logits count as class 0, as in the kit."""
    return (logits[:, 0] < logits[:, 1]).astype(np.int64)


def confidence(logits: Logits) -> Logits:
    """(N, 2) logits -> (N,) the larger logit; logits that are not finite are no evidence and rank last."""
    finite = np.isfinite(logits).all(axis=1)
    largest: Logits = np.where(finite, logits.max(axis=1), -np.inf)
    return largest


def wrong(logits: Logits, labels: Labels) -> npt.NDArray[np.bool_]:
    """(N,) whether the answer is wrong; logits that are not finite are always wrong."""
    mistakes: npt.NDArray[np.bool_] = (predict(logits) != labels) | ~np.isfinite(logits).all(axis=1)
    return mistakes


def score_by_kit(logits: Logits, labels: Labels, coverage: float) -> Score:
    """The kit's rule: threshold `sorted_descending[int(coverage * N) - 1]`, covered where confidence >= threshold.

    Ties at the threshold are all covered. Where `coverage * N` is below 1 the kit's index is -1, the lowest confidence,
    so that everything is covered; the same here.
    """
    certainty = confidence(logits)
    threshold = np.sort(certainty)[::-1][int(coverage * len(certainty)) - 1]
    covered = certainty >= threshold
    return Score(int(covered.sum()), int((wrong(logits, labels) & covered).sum()))


def score_tie_aware(logits: Logits, labels: Labels, coverage: float) -> TieAwareScore:
    """Cover exactly `int(coverage * N)` photos (at least one), the most confident first, ties by chance."""
    certainty, mistakes = confidence(logits), wrong(logits, labels)
    n_covered = max(int(coverage * len(certainty)), 1)
    threshold = np.sort(certainty)[::-1][n_covered - 1]
    above, tied = certainty > threshold, certainty == threshold
    places, n_tied = n_covered - int(above.sum()), int(tied.sum())
    errors, errors_tied = int(mistakes[above].sum()), int(mistakes[tied].sum())
    return TieAwareScore(
        covered=n_covered,
        errors_low=errors + max(places - (n_tied - errors_tied), 0),
        errors_high=errors + min(places, errors_tied),
        errors_expected=errors + places * errors_tied / n_tied,
    )


def score_at_threshold(logits: Logits, labels: Labels, abstain_below: float) -> Score:
    """What a service with this fixed threshold answers: covered where confidence >= `abstain_below`."""
    covered = (confidence(logits) >= abstain_below) & np.isfinite(logits).all(axis=1)
    return Score(int(covered.sum()), int((wrong(logits, labels) & covered).sum()))


def score_answers(answers: Sequence[str], labels: Labels) -> Score:
    """Labels alone (an endpoint): covered is whatever is not `abstain`."""
    covered = [(answer, CLASSES[label]) for answer, label in zip(answers, labels, strict=True) if answer != ABSTAIN]
    return Score(len(covered), sum(answer != truth for answer, truth in covered))


def wilson(successes: int, n: int, z: float = Z_95) -> Interval:
    """Wilson's score interval of a proportion (1927); (0, 1) where there is nothing to judge by."""
    if n == 0:
        return Interval(0.0, 1.0)
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def risk_coverage(logits: Logits, labels: Labels) -> list[tuple[float, float]]:
    """The curve (coverage, risk): one point a distinct confidence, risk = errors / covered at that threshold."""
    certainty, mistakes = confidence(logits), wrong(logits, labels)
    order = np.argsort(-certainty, kind="stable")
    ranked = certainty[order]  # compared, not subtracted: an answer that is not finite has a confidence of -inf
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) + 1
    errors = np.cumsum(mistakes[order])[ends - 1]
    return [(int(end) / len(order), int(error) / int(end)) for end, error in zip(ends, errors, strict=True)]
