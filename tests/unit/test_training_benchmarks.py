"""The benchmarks of training measure what the trainer does, and say what they could not do."""

import argparse
from typing import Any

import pytest
import torch

from benchmarks import loader, step_variants, trades_step
from model.architecture import Architecture, PixelClassifier
from train.augment import augment
from train.cache import open_cache
from train.config import parse_config
from train.feed import Feed

pytestmark = pytest.mark.unit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(
        step_variants, "network_on", lambda _: PixelClassifier(Architecture(backbone="wrn_16_1")).train()
    )


@pytest.mark.parametrize("resident", [True, False])
def test_a_step_with_the_loader_augments_the_next_photos_ahead_as_the_trainer_does(resident, tiny_photos, monkeypatch):
    augmented = []

    def counted(x: torch.Tensor, *arguments: Any) -> torch.Tensor:
        augmented.append(x)
        return augment(x, *arguments)

    monkeypatch.setattr("train.step.augment", counted)
    monkeypatch.setattr("train.feed.fits", lambda *_: resident)
    table = {"epochs": 1, "batch_size": 8, "input_size": 32, "architecture": {"backbone": "wrn_16_1"}}
    config = parse_config(table | {"loss": {"perturb_steps": 1}}, "test")
    feed = Feed(open_cache(tiny_photos / "train", config.stored_size), lambda step: torch.arange(8) + step, CPU)
    measures = loader.measures_of(feed, config)
    for name in ("step_with_loader", "step_on_fixed_batch"):
        augmented.clear()
        for step in range(3):
            measures[name][0](step)
        assert len(augmented) == 3 + resident, "one a step, and at the end one ahead"
    feed.close()
    assert torch.equal(augmented[0], augmented[-1]), "the fixed batch is the same each time"


def test_the_loader_is_measured_on_steps_in_a_row(monkeypatch):
    seen: dict[str, list[int]] = {}
    lengths = {"feed": 3, "prepared": 3, "trades": 1, "plain": 1, "step_with_loader": 1, "step_on_fixed_batch": 1}
    monkeypatch.setattr(
        loader, "measures_of", lambda *_: {n: (seen.setdefault(n, []).append, k) for n, k in lengths.items()}
    )
    loader.measured(argparse.Namespace(device=CPU), None, argparse.Namespace(rounds=2, batch=4))
    assert seen == {name: list(range(3 * length)) for name, length in lengths.items()}


@pytest.mark.parametrize("compiles", [True, False])
def test_a_step_that_could_not_be_compiled_says_so(compiles, monkeypatch):
    """Of a run on a GPU a row called `plain compiled` had run plain, which only a log told."""
    monkeypatch.setattr(torch, "compile", lambda run, **_: run if compiles else (lambda x: run(x) * torch.nan))
    made = (
        step_variants.ours(CPU, 1, fold=True, bfloat16=False, form="compiled", shape=(2, 32)),
        step_variants.plain(CPU, bfloat16=False, form="compiled", shape=(2, 32)),
    )
    assert [variant.faster for variant in made] == [compiles] * 2
    variants = {
        "peer": lambda *_: step_variants.peer(CPU, 1),
        "plain": lambda *_: made[1],
        "compiled": lambda *_: made[0],
    }
    monkeypatch.setattr(trades_step, "variants", lambda *_: variants | {"plain compiled": variants["plain"]})
    first, *_, found = trades_step.measured(32, CPU, argparse.Namespace(steps=1, batch=2, rounds=2, only=None))
    assert (first["peer"]["rounds"], found["peer"]["rounds"]) == (1, 2), "what is cut off has the rounds before"
    assert found["compiled"]["faster"] == found["plain compiled"]["faster"] == compiles
    assert "faster" not in found["peer"]


def test_the_largest_batch_is_found_by_halving(monkeypatch):
    """A GPU that holds five pictures: eight do not fit, four do; a compiled step takes the batch of its kind."""
    tried: dict[str, list[int]] = {}

    def variant(name: str) -> step_variants.Variant:
        def step(x: torch.Tensor, y: torch.Tensor) -> None:
            tried.setdefault(name, []).append(len(x))
            if len(x) > 5:
                raise torch.cuda.OutOfMemoryError

        return step_variants.Variant(step)

    made_for: dict[str, int] = {}
    names = ("peer", "plain", "bfloat16", "plain bfloat16", "compiled", "plain compiled")
    variants = {n: lambda *made, n=n: made_for.update({n: made[2]}) or variant(n) for n in names}
    monkeypatch.setattr(trades_step, "variants", lambda *_: variants)
    monkeypatch.setattr(trades_step, "pictures", lambda batch, *_: (torch.zeros(batch, 1), torch.zeros(batch)))
    monkeypatch.setattr(trades_step, "MEASURED_S", 1e-9)
    *_, found = trades_step.measured(
        32, torch.device("cuda"), argparse.Namespace(steps=1, batch=16, rounds=1, only=None, largest=8)
    )
    assert tried["peer"][:2] == [8, 4]
    assert 2 in tried["bfloat16"], "half of it may be faster"
    assert [row["largest_batch_tried_that_fits"] for row in found.values()][:4] == [4] * 4
    for name in ("compiled", "plain compiled"):
        assert set(tried[name]) == {made_for[name]} == {found[step_variants.slower(name)]["batch"]}


def test_forms_come_last_and_one_that_fails_or_takes_the_memory_costs_no_other_its_rows(monkeypatch, capfd):
    """The graphs of `captured` leave the peer room for a single picture; `compiled` does not run at all."""
    now = {"room": 8}

    def variant(name: str) -> step_variants.Variant:
        def step(x: torch.Tensor, y: torch.Tensor) -> None:
            if name == "compiled":
                raise RuntimeError("CUDA error: an illegal memory access")
            if name == "peer" and len(x) > now["room"]:
                raise torch.cuda.OutOfMemoryError

        now["room"] = 1 if name == "captured" else now["room"]
        return step_variants.Variant(step)

    names = ("peer", "plain", "bfloat16", "plain bfloat16", "captured", "plain captured", "compiled", "plain compiled")
    made_for: dict[str, int] = {}
    variants = {n: lambda *made, n=n: made_for.update({n: made[2]}) or variant(n) for n in names}
    monkeypatch.setattr(trades_step, "variants", lambda *_: variants)
    monkeypatch.setattr(trades_step, "FORM_BATCH", 3)
    monkeypatch.setattr(trades_step, "pictures", lambda batch, *_: (torch.zeros(batch, 1), torch.zeros(batch)))
    monkeypatch.setattr(trades_step, "MEASURED_S", 1e-9)
    options = argparse.Namespace(steps=1, batch=16, rounds=1, only=None, largest=8)
    first, found = trades_step.measured(32, torch.device("cuda"), options)
    assert list(first) == list(names[:4])
    assert list(found) == list(names[:6])
    assert made_for["captured"] == made_for["plain captured"] == found["captured"]["batch"] == 3
    assert (first["peer"], first["peer"]["batch"] > 1) == (found["peer"], True), "the peer keeps its best batch's row"
    assert [found[name]["peer_batch"] for name in ("bfloat16", "captured")] == [first["peer"]["batch"], 1]
    assert "compiled: left out: CUDA error" in capfd.readouterr().err


def test_no_pass_of_the_loader_s_steps_is_compiled():
    """It takes minutes, more than the loader has of a borrowed GPU."""
    assert loader.run_config(argparse.Namespace(batch=2, size=32, steps=1)).compilation == "off"


def test_a_short_step_is_timed_past_its_first_which_is_slow(monkeypatch):
    now = [0.0]
    seconds = iter([0.3, *[0.1] * 9])
    monkeypatch.setattr(trades_step.time, "perf_counter", lambda: now[0])

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        now[0] += next(seconds)

    assert trades_step.clock(step, torch.zeros(1), torch.zeros(1)) == pytest.approx(0.1)


def test_memory_for_not_even_one_picture_is_the_devices_error():
    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        trades_step.largest_batch(step, 4, 8, CPU)


@pytest.mark.parametrize(
    ("only", "measured"),
    [("bfloat16", ["peer", "bfloat16", "plain", "plain bfloat16"]), ("equal, plain", ["peer", "equal", "plain"])],
)
def test_chosen_variants_bring_what_they_are_held_against(only, measured):
    variants = {name: lambda *_: step_variants.Variant(lambda *_: None) for name in trades_step.variants(CPU, 32)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trades_step, "variants", lambda *_: variants)
        patch.setattr(trades_step, "MEASURED_S", 1e-9)
        (found,) = trades_step.measured(32, CPU, argparse.Namespace(steps=1, batch=2, rounds=1, only=only))
    assert list(found) == measured


def test_on_a_gpu_a_form_brings_the_batch_it_takes_and_an_unknown_one_is_named():
    variants = dict.fromkeys(trades_step.variants(torch.device("cuda"), 32), step_variants.peer)
    chosen = trades_step.chosen(variants, "compiled")
    assert list(chosen) == ["peer", "bfloat16", "plain", "plain bfloat16", "compiled", "plain compiled"]
    with pytest.raises(SystemExit, match="no variant is called compild; there are peer, equal"):
        trades_step.chosen(variants, "compild")
