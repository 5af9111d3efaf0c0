"""`trades_loss` against a plain transcription of the formula, in float64, and its promises."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.folding import fold_batch_norms
from train.precision import Passes
from train.trades import START_NOISE, trades_loss

pytestmark = pytest.mark.unit

EPSILON, STEP, K, BETA = 8 / 255, 2 / 255, 10, 6.0


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, 2),
    ).double()


def batch(n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, 12, 12, generator=generator, dtype=torch.float64), torch.arange(n) % 2


def plain_trades(model: nn.Module, x: Tensor, y: Tensor, distance: str, generator: torch.Generator) -> Tensor:
    """The formula step by step, with nothing reused: natural logits anew for every use."""
    model.eval()
    x_adv = x + START_NOISE * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    for _ in range(K):
        x_adv = x_adv.detach().requires_grad_(True)
        kl = F.kl_div(F.log_softmax(model(x_adv), 1), F.softmax(model(x), 1), reduction="sum")
        gradient = torch.autograd.grad(kl, x_adv)[0]
        if distance == "l_inf":
            x_adv = (x_adv + STEP * gradient.sign()).detach()
            x_adv = torch.min(torch.max(x_adv, x - EPSILON), x + EPSILON).clamp(0, 1)
        else:
            rows = []
            for image, moved, g in zip(x, x_adv, gradient, strict=True):
                change = (moved + STEP * g / g.norm()).detach().clamp(0, 1) - image
                rows.append(image + change * min(1.0, EPSILON / float(change.norm())))
            x_adv = torch.stack(rows)
    model.train()
    natural = F.cross_entropy(model(x), y)
    robust = F.kl_div(F.log_softmax(model(x_adv), 1), F.softmax(model(x), 1), reduction="sum") / len(x)
    return natural + BETA * robust


@pytest.mark.parametrize("distance", ["l_inf", "l_2"])
def test_equals_the_plain_transcription_in_float64(distance):
    x, y = batch()
    plain_model, model = small_network(), small_network()
    plain = plain_trades(plain_model, x, y, distance, torch.Generator().manual_seed(7))
    terms = trades_loss(
        model.train(), x, y, epsilon=EPSILON, step_size=STEP, perturb_steps=K, beta=BETA, distance=distance,
        generator=torch.Generator().manual_seed(7),
    )  # fmt: skip
    plain.backward()
    terms.loss.backward()
    torch.testing.assert_close(terms.loss, plain, rtol=1e-10, atol=0)
    for ours, theirs in zip(model.parameters(), plain_model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("distance", "order"), [("l_inf", torch.inf), ("l_2", 2)])
def test_x_adv_lies_in_its_ball_and_raises_the_divergence(distance, order):
    x, y = batch()
    model = small_network().train()
    far = trades_loss(model, x, y, epsilon=0.5, step_size=0.2, distance=distance)
    change = (far.x_adv - x).flatten(1)
    norms = torch.linalg.vector_norm(change, ord=order, dim=1)
    assert (norms <= 0.5 + 1e-12).all()
    assert (norms > 0.25).all(), "the ascent must use the ball"
    assert far.x_adv.min() >= 0
    assert far.x_adv.max() <= 1
    near = trades_loss(model, x, y, epsilon=0.5, step_size=0.2, perturb_steps=0, distance=distance)
    assert far.loss_robust > 2 * near.loss_robust


def test_loss_is_the_sum_of_its_parts_and_the_mode_is_restored():
    x, y = batch()
    model = small_network().train()
    model[1].eval()  # a frozen BN layer inside a training model stays frozen
    model[0].weight.requires_grad_(False)
    terms = trades_loss(model, x, y, beta=3.0)
    torch.testing.assert_close(terms.loss, terms.loss_natural + 3.0 * terms.loss_robust)
    assert model.training
    assert not model[1].training
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad
    assert not terms.x_adv.requires_grad


def test_bn_statistics_move_once_a_view():
    x, y = batch()
    model = small_network().train()
    trades_loss(model, x, y, perturb_steps=3)
    assert int(model[1].num_batches_tracked) == 2


def test_the_same_generator_gives_the_same_bits():
    x, y = batch()
    model = small_network().eval()
    first, second = (trades_loss(model, x, y, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.x_adv, second.x_adv)
    assert torch.equal(first.loss, second.loss)


def test_the_view_is_the_centre_of_the_ball():
    x, y = batch()
    view = x.flip(3)
    terms = trades_loss(small_network().train(), x, y, epsilon=0.1, x_view=view)
    assert (terms.x_adv - view).abs().max() <= 0.1 + 1e-12
    assert (terms.x_adv - x).abs().max() > 0.2


def test_bf16_autocast_keeps_the_perturbation_and_the_loss_in_float32():
    x, y = batch()
    model = small_network().float().train()
    with torch.autocast("cpu", torch.bfloat16):
        terms = trades_loss(model, x.float(), y)
    assert terms.x_adv.dtype == terms.loss.dtype == torch.float32
    assert terms.loss.isfinite()


def test_wrong_arguments_are_named():
    x, y = batch()
    with pytest.raises(ValueError, match="distance must be one of"):
        trades_loss(small_network(), x, y, distance="l_1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"x_natural must be \(N, C, H, W\)"):
        trades_loss(small_network(), x, y[:2])
    with pytest.raises(ValueError, match="epsilon"):
        trades_loss(small_network(), x, y, epsilon=-1.0)


@pytest.mark.parametrize("distance", ["l_inf", "l_2"])
def test_attacking_a_folded_copy_changes_nothing(distance):
    x, y = batch()
    losses, gradients = [], []
    for fold in (False, True):
        model = small_network()
        with torch.no_grad():
            model[1].running_mean.normal_(generator=torch.Generator().manual_seed(2))
            model[1].running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(3))
        terms = trades_loss(
            model,
            x,
            y,
            distance=distance,
            generator=torch.Generator().manual_seed(7),
            attacked=fold_batch_norms(model) if fold else None,
        )
        terms.loss.backward()
        losses.append(terms.loss.detach())
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
        assert isinstance(model[1], nn.BatchNorm2d)
        assert model.training
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-10, atol=0)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-8, atol=1e-12)


def test_passes_in_bfloat16_are_close_and_wide():
    model = small_network().float()
    x = batch()[0].float()
    plain, passed = Passes(model, bfloat16=False)(x), Passes(model, bfloat16=True)(x)
    assert passed.dtype == torch.float32
    assert not torch.equal(plain, passed)
    torch.testing.assert_close(passed, plain, rtol=0.1, atol=0.05)
