"""Attacks on boundaries whose nearest point is known, and on the lattice. D values, distances in pixel units."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack.decision import ATTACKS, UNBOUNDED
from attack.decision.problem import Problem, probes_about, to_lattice

SIDE, DIM, NEAREST = 8, 3 * 8 * 8, 300.0
WALKS = sorted(ATTACKS.keys() - UNBOUNDED)
BUDGETS = dict.fromkeys(WALKS, 6000) | {"boundary": 12_000, "surfree": 8000, "hopskipjump": 20_000}
"""The kit's boundary attack adapts its steps once in a thousand steps: it comes as near, later."""
pytestmark = pytest.mark.integration


def _normal() -> np.ndarray:
    """Unit (D,), not along an axis of any basis that an attack draws from."""
    tilted = np.add.outer(np.linspace(1.6, 0.4, SIDE), np.linspace(0.5, -0.5, SIDE))[..., None] * [1.0, 0.7, 0.4]
    return tilted.ravel() / np.linalg.norm(tilted)


ORIGINAL, NORMAL = np.full(DIM, 100, np.float32), _normal()
Rule = Callable[[np.ndarray], np.ndarray]
RULES: dict[str, Rule] = {
    "half-space": lambda x: (x - ORIGINAL) @ NORMAL > NEAREST,
    "wrong inside a sphere": lambda x: np.linalg.norm(x - ORIGINAL - (NEAREST + 400) * NORMAL, axis=1) < 400,
    "right inside a sphere": lambda x: np.linalg.norm(x - ORIGINAL + 500 * NORMAL, axis=1) > NEAREST + 500,
}


def _nearest(attack: str, rule: Rule) -> float:
    """Distance of the nearest wrong answer; every probe must be a picture."""
    aside = 100 * np.random.default_rng(0).standard_normal(DIM) / np.sqrt(DIM)
    far = np.clip(ORIGINAL + 2.2 * NEAREST * NORMAL + 3 * aside, 0, 255).round().astype(np.uint8)
    problem = Problem(ORIGINAL, SIDE, np.random.default_rng(1), lambda: iter([far]), BUDGETS[attack])
    course, best, asked = ATTACKS[attack](problem), np.inf, 0
    probes = next(course)
    while asked < BUDGETS[attack] and best > 1.04 * NEAREST:
        hits = rule(probes.astype(np.float64))
        best = min([best, *np.linalg.norm(probes[hits] - ORIGINAL.astype(np.float64), axis=1)])
        asked += len(probes)
        probes = course.send(hits)
    return float(best)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("attack", WALKS)
def test_the_nearest_point_is_reached_within_5_percent(attack, rule):
    assert 0.999 * NEAREST <= _nearest(attack, RULES[rule]) <= 1.05 * NEAREST


@settings(max_examples=10, deadline=None)
@given(level=st.sampled_from([0, 1, 128, 254, 255]), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("attack", WALKS)
def test_no_probe_leaves_the_lattice(attack, level, seed):
    """Whatever is answered: uint8 pictures, and none that has come round from 255 to 0 or from 0 to 255."""
    rng = np.random.default_rng(seed)
    original = np.full(DIM, level, np.float32)
    other = np.full(DIM, 255 - level if level % 2 else level, np.uint8)
    problem = Problem(original, SIDE, np.random.default_rng(seed), lambda: iter([other]), 150)
    course = ATTACKS[attack](problem)
    probes, asked = next(course), 0
    while asked < 150:
        assert probes.dtype == np.uint8
        assert probes.ndim == 2
        assert probes.shape[1] == DIM
        asked += len(probes)
        try:
            probes = course.send(rng.random(len(probes)) < 0.6)
        except StopIteration:
            return


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_a_picture_is_the_nearest_on_the_lattice(values):
    x = np.array(values, np.float32)
    expected = np.clip(np.rint(x), 0, 255)
    assert np.array_equal(to_lattice(x.copy()), expected)
    about = probes_about(x, 0.0, np.zeros((1, len(x)), np.float32), lambda moves: moves.copy())[0]
    assert (np.abs(about - np.clip(x, 0, 255)) <= 0.5 + 1e-4).all()
