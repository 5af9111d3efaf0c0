"""A training step against the step as public trainers write it, in float64; and what a step must not spend."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.plain_trades import plain_loss
from model.architecture import Architecture, PixelClassifier
from model.folding import FoldedTwin
from train.augment import augment
from train.config import OptimizerConfig, TrainConfig, parse_config
from train.objective import objective
from train.randomness import generator_of
from train.schedule import phase_at
from train.step import NotFiniteError, TrainStep, make_optimizer
from train.trades import trades_loss

pytestmark = pytest.mark.unit

SETTINGS = {"epsilon": 8 / 255, "step_size": 2 / 255, "perturb_steps": 4, "beta": 6.0}


def network(backbone: str = "resnet18") -> PixelClassifier:
    torch.manual_seed(0)
    return PixelClassifier(Architecture(backbone=backbone))


def batch(n: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=dtype), torch.arange(n) % 2


def config(**changes: object) -> TrainConfig:
    table = {"epochs": 1, "input_size": 32, "precision": "float32", "architecture": {"backbone": "wrn_16_1"}}
    return parse_config(table | changes, "test")


@pytest.mark.parametrize("folds", [False, True], ids=["plain", "folded, channels last"])
def test_loss_and_every_weight_gradient_equal_the_public_step_in_float64(folds):
    x, y = batch()
    peer, ours = network().double(), network().double()
    for module in (peer, ours):
        module.train()(x)  # statistics of their own, so that folding has something to fold
    twin = FoldedTwin(ours).network.to(memory_format=torch.channels_last) if folds else None
    if folds:
        ours.to(memory_format=torch.channels_last)
    expected = plain_loss(peer, x, y, generator=torch.Generator().manual_seed(2), **SETTINGS)
    terms = trades_loss(ours, x, y, generator=torch.Generator().manual_seed(2), attacked=twin, **SETTINGS)
    expected.backward()
    terms.loss.backward()
    assert terms.loss_robust > 1e-4, "the attack must have moved something"
    torch.testing.assert_close(terms.loss, expected, rtol=1e-10, atol=0)
    for (name, mine), theirs in zip(ours.named_parameters(), peer.parameters(), strict=True):
        relative = (mine.grad - theirs.grad).norm() / theirs.grad.norm()
        assert relative < 1e-10, name


class Counting(nn.Module):
    """Counts passes forward, and whether they could reach the weights."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.passes = inner, Counter[str]()

    def forward(self, x: Tensor) -> Tensor:
        wants = any(weight.requires_grad for weight in self.inner.parameters()) and torch.is_grad_enabled()
        self.passes["weights" if wants else "input" if x.requires_grad else "logits"] += 1
        return self.inner(x)


@pytest.mark.parametrize(
    ("loss", "worst_of", "trained", "attacked", "maps"),
    [
        ("trades", 1, {"weights": 2}, {"logits": 1, "input": 3}, 2),
        ("trades", 4, {"weights": 2}, {"logits": 1 + 4, "input": 3}, 1 + 4),
        ("madry", 1, {"weights": 1}, {"input": 3}, 1),
        ("madry", 4, {"weights": 1}, {"logits": 1 + 4, "input": 3}, 1 + 4),
        ("natural", 1, {"weights": 1}, {}, 1),
    ],
)
def test_a_step_spends_no_pass_and_no_map_in_vain(loss, worst_of, trained, attacked, maps, monkeypatch):
    """As many as docs/trades.md says."""
    drawn = []
    monkeypatch.setattr("train.views.apply_maps", lambda x, *_: drawn.append(len(x)) or x)
    run = config(loss={"kind": loss, "perturb_steps": 3}, spatial={"worst_of": worst_of})
    x, y = batch(dtype=torch.float32)
    one, other = Counting(network("wrn_16_1")), Counting(network("wrn_16_1").eval().requires_grad_(False))
    objective(one, other, x, y, run, phase_at(run, 0.5), generator_of(0))
    assert one.passes == trained
    assert other.passes == attacked
    assert drawn == [len(x)] * maps


def natural_loss(kind: str, *, label_smoothing: float = 0.0, both_views: bool = False) -> tuple[Tensor, Tensor]:
    """The natural term of a step, and what it would be of the photos where they lie."""
    loss = {"kind": kind, "perturb_steps": 1, "label_smoothing": label_smoothing}
    run = config(loss=loss, spatial={"both_views": both_views})
    (x, y), net = batch(dtype=torch.float32), network("wrn_16_1")
    _, figures = objective(net, network("wrn_16_1"), x, y, run, phase_at(run, 0.5), generator_of(0))
    term = figures["loss" if kind == "natural" else "loss_natural"]
    return term, F.cross_entropy(net(x), y, label_smoothing=label_smoothing).detach()


@pytest.mark.parametrize("kind", ["trades", "natural"])
def test_the_natural_view_is_mapped_only_where_both_are(kind):
    unmoved, still = natural_loss(kind)
    torch.testing.assert_close(unmoved, still)
    moved, _ = natural_loss(kind, both_views=True)
    assert abs(moved - still) > 1e-3


@pytest.mark.parametrize("kind", ["trades", "natural"])
def test_labels_are_smoothed(kind):
    smooth, expected = natural_loss(kind, label_smoothing=0.4)
    torch.testing.assert_close(smooth, expected)
    assert abs(smooth - natural_loss(kind)[0]) > 1e-3


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_biases_and_normalisation_do_not_decay(name):
    net = network("wrn_16_1")
    before = {key: weight.detach().clone() for key, weight in net.named_parameters()}
    for weight in net.parameters():
        weight.grad = torch.zeros_like(weight)
    make_optimizer(net, OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.1)).step()
    for key, weight in net.named_parameters():
        assert torch.equal(weight, before[key]) == (weight.ndim == 1), key


@pytest.mark.parametrize(("nesterov", "momentum", "length"), [(True, 0.5, 1.5), (False, 0.5, 1), (True, 0, 1)])
def test_nesterovs_momentum_looks_ahead(nesterov, momentum, length):
    """Its first step is (1 + momentum) times the gradient; without momentum there is none."""
    net = nn.Linear(1, 1)
    before = net.weight.detach().clone()
    net.weight.grad = torch.ones(1, 1)
    settings = OptimizerConfig(name="sgd", learning_rate=1, momentum=momentum, nesterov=nesterov, weight_decay=0)
    make_optimizer(net, settings).step()
    assert float(before - net.weight.detach()) == pytest.approx(length)


def step_of(**changes: object) -> tuple[TrainStep, Tensor, Tensor]:
    run = config(**changes)
    photos = torch.randint(0, 256, (8, 3, 36, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return TrainStep(PixelClassifier(run.architecture), run, torch.device("cpu")), photos, torch.arange(8) % 2


def test_a_step_moves_weights_and_average_and_reports_figures():
    step, photos, y = step_of()
    before = [weight.clone() for weight in step.network.parameters()]
    figures = step(photos, y, phase_at(step.config, 0.5), 0)
    assert figures["loss"] == pytest.approx(figures["loss_natural"] + 6 * figures["loss_robust"], rel=1e-5)
    assert figures["gradient_norm"] > 0
    assert all(not torch.equal(old, new) for old, new in zip(before, step.network.parameters(), strict=True))


def test_photos_augmented_ahead_give_the_same_steps(monkeypatch):
    """What was made ahead is taken, once, by the step that it is for; a step out of turn makes its own."""
    augmented = []

    def counted(x: Tensor, *arguments: Any) -> Tensor:
        augmented.append(x)
        return augment(x, *arguments)

    monkeypatch.setattr("train.step.augment", counted)
    seen = {}
    for ahead in (False, True):
        torch.manual_seed(0)
        step, photos, y = step_of(augment={"noise": 1.0})
        phase, batches = phase_at(step.config, 0.5), [photos, photos.flip(0), 255 - photos]
        following = [partial(batches.__getitem__, n) if ahead else None for n in (1, 2)] + [None]
        augmented.clear()
        seen[ahead] = [step(batches[n], y, phase, n, following[n]) for n in range(3)]
        assert len(augmented) == 3
        step(photos, y, phase, 7)
        assert len(augmented) == 4
    assert seen[True] == seen[False]
    assert seen[True][0] != seen[True][1]


def test_the_attack_of_a_step_sees_the_weights_of_the_step_before():
    step, photos, y = step_of()
    phase = phase_at(step.config, 0.5)
    for number in range(2):
        step(photos, y, phase, number)
    seen = step.attacked(batch(dtype=torch.float32)[0])
    step.network.eval()
    now = step.network(batch(dtype=torch.float32)[0])
    assert not torch.allclose(seen, now), "one optimiser step lies between"
    step.twin.refresh()
    torch.testing.assert_close(step.attacked(batch(dtype=torch.float32)[0]), now, rtol=1e-4, atol=1e-5)


def test_views_and_perturbed_pictures_stay_channels_last():
    seen: list[bool] = []
    step, photos, y = step_of()
    for module in (step.trained, step.attacked):
        module.register_forward_pre_hook(
            lambda _, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
        )
    step(photos, y, phase_at(step.config, 0.5), 0)
    assert len(seen) == 1 + 10 + 2
    assert all(seen)


def test_a_loss_that_is_not_finite_never_meets_the_weights():
    step, photos, y = step_of()
    before = {name: tensor.clone() for name, tensor in step.network.named_parameters()}
    with torch.no_grad():
        step.network.backbone.fc.bias.fill_(torch.nan)
    with pytest.raises(NotFiniteError, match="not finite"):
        step(photos, y, phase_at(step.config, 0.5), 0)
    del before["backbone.fc.bias"]
    assert all(torch.equal(dict(step.network.named_parameters())[name], old) for name, old in before.items())
