"""Captured passes: the plain ones' values and gradients, or none. Graphs themselves need a CUDA device."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.folding import FoldedTwin
from tests.unit.test_compilation import input_gradient, pictures, step_of, tiny
from train.capture import capture_passes
from train.precision import Passes
from train.ranks import Ranks
from train.schedule import phase_at
from train.trades import attack_mode

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
on_a_gpu = [pytest.mark.gpu, NO_CUDA]


class Replayed(nn.Module):
    """What a graph does, on a CPU: each capture has one place for its input and one for its output."""

    def __init__(self, run: Callable[[Tensor], Tensor], place: Tensor) -> None:
        super().__init__()
        self.run, self.place, self.calls = run, place, 0

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape == self.place.shape, "a graph knows one shape"
        self.calls += 1
        return self.run(x)


def replayed(monkeypatch: pytest.MonkeyPatch, spoil: float = 1.0) -> list[Replayed]:
    """Every capture, in place of CUDA's; logits times `spoil`."""
    made: list[Replayed] = []

    def capture(own: Passes, x: tuple[Tensor]) -> None:
        (place,) = x
        made.append(Replayed(lambda batch: spoil * own.run(batch), place))
        own.forward = made[-1].forward

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    monkeypatch.setattr("train.capture.is_cuda", lambda _: True)
    return made


@pytest.mark.unit
def test_each_view_of_a_step_has_a_graph_of_its_own_and_other_shapes_and_modes_have_none(monkeypatch):
    made = replayed(monkeypatch)
    passes = Passes(tiny().train(), bfloat16=False)
    assert capture_passes(passes, pictures())
    for graph in made:
        graph.calls = 0
    for _ in range(3):
        passes(pictures())
    assert sorted(graph.calls for graph in made) == [1, 2]
    assert not any(graph.place.requires_grad for graph in made)
    passes(pictures()[:2])
    passes.eval()
    passes(pictures())
    assert sum(graph.calls for graph in made) == 3


@pytest.mark.unit
def test_the_attack_has_one_graph_for_values_and_gradients_of_the_input(monkeypatch):
    made = replayed(monkeypatch)
    passes = Passes(tiny().requires_grad_(False), bfloat16=False)
    assert capture_passes(passes, pictures())
    (graph,) = made
    assert graph.place.requires_grad
    assert graph.calls == 2, "it was held against the plain pass, with and without a gradient"


@pytest.mark.unit
@pytest.mark.parametrize("trained", [True, False])
def test_a_capture_that_errs_or_fails_leaves_what_ran_before(trained, monkeypatch, capfd):
    network = tiny().requires_grad_(trained)
    passes = Passes(network, bfloat16=False)
    passes.run = before = torch.nn.Sequential(network).forward
    assert not capture_passes(passes, pictures())
    replayed(monkeypatch, spoil=1.5)
    state = copy.deepcopy(network.state_dict())
    assert not capture_passes(passes, pictures())
    assert passes.run is before
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)
    failed, erred = capfd.readouterr().err.splitlines()
    assert failed == (
        'passes are not captured: a CUDA graph needs a CUDA device, not cpu; capture = "off" does without trying'
    )
    assert "differ by" in erred


@pytest.mark.unit
def test_a_step_captures_on_cuda_where_it_is_asked_to_and_compiles_first(monkeypatch):
    made = replayed(monkeypatch)
    monkeypatch.setattr(torch, "compile", lambda run, **_: run)
    plain = {"precision": "float32", "compilation": "off"}
    assert not made
    step_of(**plain)  # auto, on a CPU
    assert not made
    step_of(**plain, capture="on")
    assert len(made) == 3, "one of the attack, two of training"
    made.clear()
    step = step_of(**plain | {"compilation": "on"}, capture="on")
    assert len(made) == 3
    assert step.trained.run.__name__ == "run", "captured last"
    made.clear()
    step_of(ranks=Ranks(0, 2), **plain, capture="on")
    assert len(made) == 1, "between the trained passes of several processes stand messages"


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=on_a_gpu)])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_graphs_give_the_plain_values_and_gradients_also_when_the_weights_change(device, bfloat16):
    network = tiny().to(device).train()
    other = copy.deepcopy(network)
    passes, plain = Passes(network, bfloat16=bfloat16), Passes(other, bfloat16=bfloat16)
    twin = FoldedTwin(network)
    attacked = Passes(twin.network, bfloat16=bfloat16)
    x = pictures(device=device)
    assert capture_passes(passes, x)
    assert capture_passes(attacked, x)
    torch.testing.assert_close(network.state_dict(), other.state_dict(), rtol=0, atol=0)
    near = {"rtol": 2e-2, "atol": 2e-3} if bfloat16 else {"rtol": 1e-3, "atol": 1e-5}
    for seed in range(3):
        for one in (passes, plain):
            one.network.zero_grad(set_to_none=True)
            views = [one(pictures(seed + view, device)).log_softmax(1)[:, 0].sum() for view in range(seed % 2 + 1)]
            (views[0] + 2 * views[-1]).backward()
        for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, **near)
        torch.testing.assert_close(network.state_dict(), other.state_dict(), **near)
        with torch.no_grad():
            for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
                mine.mul_(1.1)
                theirs.copy_(mine)
        twin.refresh()
        x = pictures(seed, device)
        with attack_mode(attacked):
            torch.testing.assert_close(attacked(x), attacked.plain(x), **near)
            torch.testing.assert_close(input_gradient(attacked, x), input_gradient(attacked.plain, x), **near)
            assert len(attacked(x[:2])) == 2


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=on_a_gpu)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_captured_step_is_the_plain_step(device, precision):
    photos = torch.randint(0, 256, (8, 3, 36, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    y = torch.arange(8, device=device) % 2
    seen = {}
    for capture in ("off", "on"):
        step = step_of(device, precision=precision, compilation="off", capture=capture)
        assert (step.trained.run != step.trained.plain) == (capture == "on")
        assert (step.attacked.run != step.attacked.plain) == (capture == "on")
        seen[capture] = [step(photos.to(device), y, phase_at(step.config, 0.9), number) for number in range(3)]
    for plain, captured in zip(seen["off"], seen["on"], strict=True):
        assert captured["loss"] == pytest.approx(plain["loss"], rel=1e-3 if precision == "float32" else 0.05)
