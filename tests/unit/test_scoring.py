"""The scores against a literal transcription of the kit's rule, and against counting by hand."""

from itertools import combinations

import numpy as np
import pytest

from attack.evaluation import scoring

pytestmark = pytest.mark.unit


COVERAGES = np.linspace(0.01, 1.00, 100)  # as the kit writes them; most differ from n / 100 in the last bit


def kit_rule(logits, labels, coverage):
    """The kit's rule, step by step: a sorted list, and Python's own indexing."""
    predictions = [1 if bird > bicycle else 0 for bicycle, bird in logits]
    confidences = [max(row) for row in logits]
    ranked = sorted(confidences, reverse=True)
    threshold = ranked[int(coverage * len(predictions)) - 1]
    covered = [index for index, value in enumerate(confidences) if value >= threshold]
    errors = [index for index in covered if predictions[index] != labels[index]]
    return len(covered), len(errors)


def random_case(rng):
    n = int(rng.integers(1, 260))
    levels = int(rng.choice([1, 2, 5, 40, 10_000]))  # few levels: many ties, equal logits too
    logits = (rng.integers(0, levels, size=(n, 2)) / 7).astype(np.float32)
    return logits, rng.integers(0, 2, size=n)


def test_the_kits_rule_on_1000_random_cases_with_ties():
    rng = np.random.default_rng(0)
    tied = 0
    for _ in range(1000):
        logits, labels = random_case(rng)
        for coverage in (rng.choice(COVERAGES), 0.8, 1.0):
            score = scoring.score_by_kit(logits, labels, coverage)
            assert (score.covered, score.errors) == kit_rule(logits.tolist(), labels.tolist(), coverage)
        tied += len(np.unique(logits.max(axis=1))) < len(logits)
    assert tied > 500
    assert (COVERAGES[79], COVERAGES[99]) == (0.8, 1.0)


def test_label_only_confidences_over_cover():
    logits = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    labels = np.array([0, 0, 1, 1, 1])
    assert scoring.score_by_kit(logits, labels, 0.8) == scoring.score_by_kit(logits, labels, 1.0) == scoring.Score(5, 1)
    aware = scoring.score_tie_aware(logits, labels, 0.8)
    assert (aware.covered, aware.errors_low, aware.errors_high, aware.errors_expected) == (4, 0, 1, pytest.approx(0.8))


def test_tie_aware_is_the_mean_over_all_choices():
    rng = np.random.default_rng(1)
    for _ in range(50):
        logits = rng.integers(0, 3, size=(7, 2)).astype(np.float32)
        labels = rng.integers(0, 2, size=7)
        certainty, mistakes = logits.max(axis=1), (logits[:, 0] < logits[:, 1]) != labels
        covers = list(combinations(range(7), 5))
        most_confident = max(sum(certainty[list(cover)]) for cover in covers)
        errors = [mistakes[list(c)].sum() for c in covers if sum(certainty[list(c)]) == most_confident]
        aware = scoring.score_tie_aware(logits, labels, 5 / 7)
        assert (aware.errors_low, aware.errors_high) == (min(errors), max(errors))
        assert aware.errors_expected == pytest.approx(np.mean(errors))


def test_without_ties_both_rules_agree():
    logits = np.random.default_rng(2).normal(size=(250, 2))
    labels = np.arange(250) % 2
    kit, aware = scoring.score_by_kit(logits, labels, 0.8), scoring.score_tie_aware(logits, labels, 0.8)
    assert (kit.covered, kit.errors) == (200, aware.errors_low) == (aware.covered, aware.errors_high)


def test_equal_logits_answer_bicycle():
    logits = np.array([[2.0, 2.0]])
    assert scoring.score_by_kit(logits, np.array([0]), 1).errors == 0
    assert scoring.score_by_kit(logits, np.array([1]), 1).errors == 1


def test_logits_that_are_not_finite_are_errors_and_rank_last():
    logits = np.array([[np.nan, 1.0], [3.0, np.inf], [5.0, 0.0]])
    labels = np.array([1, 1, 0])
    assert scoring.score_by_kit(logits, labels, 1 / 3) == scoring.Score(1, 0)
    assert scoring.score_by_kit(logits, labels, 1.0) == scoring.Score(3, 2)
    assert scoring.score_at_threshold(logits, labels, -100) == scoring.Score(1, 0)


def test_a_fixed_threshold_and_answers_agree():
    logits = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.5], [0.0, 4.0]])
    labels = np.array([0, 1, 1, 0])
    assert scoring.score_at_threshold(logits, labels, 2.0) == scoring.Score(3, 1)
    assert scoring.score_answers(["bicycle", "bird", "abstain", "bird"], labels) == scoring.Score(3, 1)
    nothing = scoring.score_answers(["abstain"] * 4, labels)
    assert (nothing.accuracy, nothing.interval) == (None, (0, 1))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998, table I, Wilson's score method without continuity correction.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_of_the_literature(successes, n, low, high):
    assert scoring.wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_says_nothing():
    assert scoring.wilson(0, 0) == (0, 1)


def test_the_curve_has_a_point_for_each_distinct_confidence():
    logits = np.array([[9.0, 0.0], [7.0, 0.0], [0.0, 7.0], [5.0, 0.0]])
    labels = np.array([0, 1, 1, 1])
    assert scoring.risk_coverage(logits, labels) == [(0.25, 0.0), (0.75, 1 / 3), (1.0, 0.5)]
    nothing = np.full((3, 2), np.nan)
    assert scoring.risk_coverage(nothing, np.zeros(3, int)) == [(1.0, 1.0)]
