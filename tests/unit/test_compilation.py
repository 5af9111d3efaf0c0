"""Compiled passes: the plain ones' values and gradients, or none. The real compiler runs where a mark says so."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from model.folding import FoldedTwin
from tests.passes import CUDA, assert_steps_equal_plain_ones, input_gradient, pictures, step_of, tiny
from train.compilation import compile_passes
from train.precision import Passes, is_wanted
from train.ranks import Ranks
from train.trades import attack_mode

on_devices = pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.integration), pytest.param("cuda", marks=CUDA)]
)
quiet_compiler = pytest.mark.filterwarnings("default")


@on_devices
@quiet_compiler
def test_compiled_passes_of_an_attack_are_the_plain_ones_also_when_the_weights_change(device):
    source = tiny().to(device)
    twin = FoldedTwin(source)
    passes = Passes(twin.network, bfloat16=False)
    assert compile_passes(passes, pictures(device=device))
    assert passes.run != passes.plain
    for seed in (1, 2):
        x = pictures(seed, device)
        with attack_mode(passes):
            torch.testing.assert_close(passes(x), passes.plain(x), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(input_gradient(passes, x), input_gradient(passes.plain, x), rtol=1e-3, atol=1e-6)
        with torch.no_grad():
            before = passes.plain(x)
            source[-1].weight.add_(1.0)
            source[0][1].running_var.mul_(2.0)
            twin.refresh()
        assert not torch.allclose(passes.plain(x), before, atol=1e-2), "the weights have changed"


@on_devices
@quiet_compiler
def test_compiled_passes_of_training_are_the_plain_ones_and_move_the_statistics_once(device):
    network = tiny().to(device).train()
    other = copy.deepcopy(network)
    passes, plain = Passes(network, bfloat16=False), Passes(other, bfloat16=False)
    assert compile_passes(passes, pictures(device=device))
    for tensor, expected in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(tensor, expected), "the comparison leaves no trace"
    for seed in (1, 2):
        for one in (passes, plain):
            one(pictures(seed, device)).log_softmax(1)[:, 0].sum().backward()
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(network.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-6)
    assert network[0][1].num_batches_tracked == 3


def replace_compiler(monkeypatch: pytest.MonkeyPatch, compiler: Callable[..., object]) -> list[object]:
    calls: list[object] = []

    def replaced(function: Callable[[Tensor], Tensor], *, dynamic: bool) -> object:
        calls.append(function)
        return compiler(function)

    monkeypatch.setattr(torch, "compile", replaced)
    return calls


def fails(function: object) -> object:
    raise RuntimeError("no C compiler\nis there")


@pytest.mark.unit
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        (fails, "no C compiler is there"),
        (lambda _: fails, "no C compiler is there"),
        (lambda run: lambda x: 1.5 * run(x), "differ by"),
        (lambda run: lambda x: run(x) * torch.nan, "differ by nan"),
        (lambda run: lambda x: 2 * run(x) - run(x).detach(), "gradient differ by"),
    ],
)
def test_a_compiler_that_fails_or_errs_is_not_used(compiler, said, trained, monkeypatch, capfd):
    replace_compiler(monkeypatch, compiler)
    network = tiny().requires_grad_(trained)
    before = copy.deepcopy(network.state_dict())
    passes = Passes(network, bfloat16=False)
    assert not compile_passes(passes, pictures())
    assert passes.run == passes.plain
    begun, told = capfd.readouterr().err.splitlines()
    assert begun.startswith(f"compiling the passes of {'training' if trained else 'the attack'}")
    assert said in told
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.unit
@pytest.mark.parametrize(("noise", "taken"), [(1.0, True), (4.0, False)])
def test_in_bfloat16_rounding_alone_is_no_defect(noise, taken, monkeypatch):
    """Compiled passes that round otherwise than the plain ones, as far from float32 or four times as far."""

    def rounds_otherwise(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def compiled(x: Tensor) -> Tensor:
            logits = run(x)
            passes.autocast = False
            exact = passes.plain(x)
            passes.autocast = True
            return exact - noise * (logits - exact)

        return compiled

    class Rough(nn.Module):
        """Half its logits are lost in autocast."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * (0.5 if torch.is_autocast_enabled("cpu") else 1.0)

    replace_compiler(monkeypatch, rounds_otherwise)
    passes = Passes(Rough(), bfloat16=True)
    assert compile_passes(passes, pictures()) == taken


@pytest.mark.unit
@pytest.mark.parametrize(("kind", "world", "compiled"), [("trades", 1, 2), ("natural", 1, 1), ("trades", 2, 1)])
def test_a_step_compiles_its_two_kinds_of_passes_apart(kind, world, compiled, monkeypatch):
    calls = replace_compiler(monkeypatch, partial)
    changes = {"precision": "float32", "loss": {"kind": kind}}
    step = step_of(ranks=Ranks(0, world), compilation="on", **changes)
    assert len(calls) == compiled
    assert (step.trained.run != step.trained.plain) == (world == 1)
    assert (step.attacked.run != step.attacked.plain) == (kind == "trades")
    calls.clear()
    assert step_of(compilation="auto", **changes).trained.run.__name__ == "plain"
    assert not calls
    assert is_wanted("auto", torch.device("cuda"))
    assert not is_wanted("off", torch.device("cuda"))


@pytest.mark.slow
@on_devices
@quiet_compiler
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_step_is_the_plain_step(device, precision):
    assert_steps_equal_plain_ones("compilation", device, precision)
