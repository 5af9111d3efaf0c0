"""Which weights a run keeps, and from when on it compares them."""

import pytest
import torch

from model.errors import ConfigError
from train.config import TrainConfig, parse_config
from train.schedule import Timetable, phase_at
from train.selection import Selection
from train.validation import Accuracy, Validation

pytestmark = pytest.mark.unit


def selection_of(kind: str, **validation: object) -> Selection:
    return Selection(parse_config({"epochs": 1, "loss": {"kind": kind}, "validation": validation}, "test"), {})


def kept(selection: Selection, seen: list[tuple[float, float]], *, full_strength: bool = True) -> int:
    """The number of the validation whose weights are kept; each is (natural, robust) accuracy."""
    for number, (natural, robust) in enumerate(seen):
        validation = Validation(Accuracy(natural, 1.0), Accuracy(robust, 1.0), 16, 16)
        selection.see(validation, {"number": torch.tensor(number)}, full_strength=full_strength)
    return int(selection.best["number"])


@pytest.mark.parametrize(
    ("kind", "seen", "best"),
    [
        ("trades", [(0.5, 0.4), (0.9, 0.3), (0.4, 0.5)], 2),
        ("madry", [(0.5, 0.0), (0.9, 0.0), (0.7, 0.0)], 1),
        ("natural", [(0.5, 0.2), (0.9, 0.0), (0.7, 0.3)], 1),
    ],
)
def test_robust_accuracy_decides_then_natural_and_of_plain_cross_entropy_natural_alone(kind, seen, best):
    assert kept(selection_of(kind), seen) == best


def test_a_run_is_exhausted_after_as_many_validations_without_a_better_one():
    selection = selection_of("trades", patience=2)
    kept(selection, [(0.5, 0.5), (0.5, 0.5)])
    assert not selection.exhausted
    kept(selection, [(0.5, 0.4)])
    assert selection.exhausted


def test_the_last_are_kept_where_that_is_asked_for_and_while_the_schedule_rises():
    falling = [(0.9, 0.9), (0.5, 0.5), (0.4, 0.4)]
    last = selection_of("trades", keep="last", patience=1)
    assert kept(last, falling) == 2
    assert not last.exhausted
    rising = selection_of("trades")
    assert kept(rising, falling, full_strength=False) == 2
    assert kept(rising, [(0.1, 0.1)]) == 0, "the first ones at full strength beat them"


@pytest.mark.parametrize(
    ("kind", "maps", "ball", "full"),
    [("trades", 2, 1, [2, 3]), ("trades", 0, 3, [3]), ("madry", 0, 0, [0, 1, 2, 3]), ("natural", 1, 3, [1, 2, 3])],
)
def test_full_strength_is_that_of_maps_and_ball_together(kind, maps, ball, full):
    loss = {"kind": kind, "epsilon_warmup_epochs": ball}
    config = parse_config({"epochs": 4, "loss": loss, "spatial": {"warmup_epochs": maps}}, "test")
    assert [epoch for epoch in range(4) if phase_at(config, epoch).full_strength] == full


@pytest.mark.parametrize(
    ("epochs", "natural", "ball", "maps", "full_from"),
    [(2, 1, 0.5, 0, 6), (2, 0, 0, 1.75, 7), (2, 1.25, 0.5, 1, 7), (0.25, 0, 0, 0, 0)],
)
def test_a_run_takes_steps_at_full_strength(epochs, natural, ball, maps, full_from):
    """Of four steps an epoch."""
    table = Timetable(rising(epochs, natural, ball, maps), 35)
    strength = [table.phase(step).full_strength for step in range(table.total_steps)]
    assert strength == [step >= full_from for step in range(round(4 * epochs))]


@pytest.mark.parametrize(
    ("epochs", "natural", "ball", "maps"), [(2, 1.9, 0, 0), (2, 1.25, 0.6, 0), (2, 0, 0, 1.8), (0.25, 0.1, 0, 0)]
)
def test_a_run_that_would_end_before_its_full_strength_is_refused(epochs, natural, ball, maps):
    """Of real numbers the rises end before the run does, but after its last step has begun."""
    config = rising(epochs, natural, ball, maps)
    with pytest.raises(ConfigError, match=r"^epochs = .* of 35 photos end before .* lower loss.natural_epochs, .*"):
        Timetable(config, 35)


def rising(epochs: float, natural: float, ball: float, maps: float) -> TrainConfig:
    loss = {"natural_epochs": natural, "epsilon_warmup_epochs": ball}
    table = {"epochs": epochs, "batch_size": 8, "loss": loss, "spatial": {"warmup_epochs": maps}}
    return parse_config(table, "test")
