"""Captured passes: the plain ones' values and gradients, or none. Graphs themselves need a CUDA device."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.folding import FoldedTwin
from tests.passes import CUDA, assert_steps_equal_plain_ones, input_gradient, pictures, step_of, tiny
from train.capture import capture_passes
from train.precision import Passes
from train.ranks import Ranks
from train.trades import attack_mode

on_a_gpu = pytest.mark.parametrize("device", [pytest.param("cuda", marks=CUDA)])


class Replayed(nn.Module):
    """What a graph does, on a CPU: each capture has one place for its input, and forgets what it gave before."""

    def __init__(self, run: Callable[[Tensor], Tensor], place: Tensor) -> None:
        super().__init__()
        self.run, self.place, self.calls = run, place, 0

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape == self.place.shape, "a graph knows one shape"
        self.calls += 1
        return self.run(x)


def replayed(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[int, Tensor], Tensor] = lambda _, logits: logits
) -> list[Replayed]:
    """Every capture, in place of CUDA's; `spoil` is told which one gives the logits."""
    made: list[Replayed] = []

    def capture(own: Passes, x: tuple[Tensor]) -> None:
        (place,), number = x, len(made)
        made.append(Replayed(lambda batch: spoil(number, own.run(batch)), place))
        own.forward = made[-1].forward

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
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
    assert graph.calls == 4, "it was held against the plain pass twice, with and without a gradient"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("trained", "spoil"),
    [
        (True, lambda number, logits: 1.5 * logits if number == 0 else logits),
        (True, lambda number, logits: 1.5 * logits if number == 1 else logits),
        (False, lambda _, logits: 1.5 * logits),
    ],
)
def test_a_graph_that_errs_leaves_what_ran_before(trained, spoil, monkeypatch, capfd):
    replayed(monkeypatch, spoil)
    network = tiny().requires_grad_(trained)
    state = copy.deepcopy(network.state_dict())
    passes = Passes(network, bfloat16=False)
    passes.run = before = nn.Sequential(network).forward
    assert not capture_passes(passes, pictures())
    assert passes.run is before
    torch.testing.assert_close(network.state_dict(), state, rtol=0, atol=0)
    assert "passes are not captured: logits" in capfd.readouterr().err


@pytest.mark.unit
def test_a_graph_that_repeats_what_it_was_captured_with_is_not_taken(monkeypatch, capfd):
    """As one whose input never reaches its place would."""
    made = replayed(monkeypatch)
    monkeypatch.setattr(Replayed, "forward", lambda graph, x: graph.run(graph.place + x - x.detach()))
    assert not capture_passes(Passes(tiny().requires_grad_(False), bfloat16=False), pictures())
    assert len(made) == 1
    assert "differ by" in capfd.readouterr().err


@pytest.mark.unit
@pytest.mark.skipif(torch.cuda.is_available(), reason="there are graphs here")
def test_where_there_are_no_graphs_a_line_says_so(capfd):
    passes = Passes(tiny(), bfloat16=False)
    assert not capture_passes(passes, pictures())
    assert passes.run == passes.plain
    (told,) = capfd.readouterr().err.splitlines()
    assert told.startswith("passes are not captured: ")
    assert told.endswith('; capture = "off" does without trying')
    assert "CUDA" in told


@pytest.mark.unit
def test_a_step_captures_on_cuda_where_it_is_asked_to_and_compiles_first(monkeypatch):
    made = replayed(monkeypatch)
    monkeypatch.setattr(torch, "compile", lambda run, **_: run)
    plain = {"precision": "float32", "compilation": "off"}
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


@on_a_gpu
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


@on_a_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_captured_step_is_the_plain_step(device, precision):
    assert_steps_equal_plain_ones("capture", device, precision)
