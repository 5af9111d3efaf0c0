"""The TRADES loss (Zhang et al. 2019, arXiv:1901.08573, eq. 5), alone: no schedule, no data, no optimiser.

    min_f  E[ CE(f(x), y) + beta * max_{x' in B(x, epsilon)} KL(f(x) || f(x')) ]

N batch, C channels, H height, W width, K = perturb_steps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from train.randomness import drawn

Distance = Literal["l_inf", "l_2"]
Objective = Callable[[Tensor], Tensor]
"""(N, C, H, W) -> scalar to be raised, a sum over the batch of terms that each depend on one image alone."""

START_NOISE = 1e-3
"""Standard deviation of the start's normal noise: the gradient of the KL term is zero at x itself."""


@dataclass(frozen=True)
class TradesTerms:
    """What `trades_loss` returns; loss = loss_natural + beta * loss_robust, means over the batch."""

    loss: Tensor
    loss_natural: Tensor
    loss_robust: Tensor
    x_adv: Tensor
    logits_natural: Tensor
    logits_adv: Tensor


def trades_loss(
    model: nn.Module,
    x_natural: Tensor,
    y: Tensor,
    epsilon: float = 8 / 255,
    step_size: float = 2 / 255,
    perturb_steps: int = 10,
    beta: float = 6.0,
    distance: Distance = "l_inf",
    generator: Generator | None = None,
    x_view: Tensor | Callable[[Tensor], Tensor] | None = None,
    label_smoothing: float = 0.0,
    attacked: nn.Module | None = None,
) -> TradesTerms:
    """The TRADES loss and its parts; call `.loss.backward()` on the result.

    x_natural: (N, C, H, W) floating point in [0, 1]. y: (N,) int64 class indices. `epsilon` and `step_size` are in the
    units of x: the largest change of a value for "l_inf", the largest Euclidean norm of an image's change for "l_2".
    x_view: (N, C, H, W), the centre of the ball instead of x_natural, for the spatial variant: another map of the same
    image, KL(f(x_natural) || f(x_view + delta)). x_adv lies in the ball around it and in [0, 1]. Or a function from the
    (N, classes) log probabilities of x_natural to that, so that choosing a view repeats no pass.
    attacked: the same function as `model` in eval mode in a form that is faster to attack, such as with its
    normalisations folded; the inner maximisation runs on it.

    The inner maximisation runs in eval mode without gradients of the weights; the two trained views run in the mode the
    model came in, which is restored. Raises ValueError for an unknown distance or sizes that do not fit.

    As in the authors' code: start noise 1e-3, sign steps for "l_inf", normalised steps for "l_2", gradient through both
    arguments of the KL. Deviations, all of equal value: the natural logits are computed once for the attack and once
    for the loss (theirs: K + 2 times), so BN statistics move once a view; for "l_2" the step is `step_size` (theirs:
    2 epsilon / K), a zero gradient moves nothing (theirs: random) and each image is projected by its own norm.
    """
    _check(x_natural, y, epsilon, perturb_steps, distance)
    inner = model if attacked is None else attacked
    with attack_mode(inner):
        with torch.no_grad():
            target = F.log_softmax(_wide(inner(x_natural)), dim=1)
            view = x_view(target) if callable(x_view) else x_view
        x_adv = ascend(
            lambda x: kl_divergence(target, F.log_softmax(_wide(inner(x)), dim=1)).sum(),
            (x_natural if view is None else view).detach(),
            epsilon=epsilon,
            step_size=step_size,
            steps=perturb_steps,
            distance=distance,
            generator=generator,
        )
    logits_natural, logits_adv = _wide(model(x_natural)), _wide(model(x_adv))
    loss_natural = F.cross_entropy(logits_natural, y, label_smoothing=label_smoothing)
    loss_robust = kl_divergence(F.log_softmax(logits_natural, dim=1), F.log_softmax(logits_adv, dim=1)).mean()
    loss = loss_natural + beta * loss_robust
    return TradesTerms(loss, loss_natural, loss_robust, x_adv, logits_natural, logits_adv)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(N, classes) log probabilities -> (N,) KL(p || q) in nats."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def ascend(
    objective: Objective,
    centre: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    distance: Distance,
    generator: Generator | None = None,
    start_noise: float = START_NOISE,
) -> Tensor:
    """Projected gradient ascent from `centre` plus normal noise: (N, C, H, W) in the ball and in [0, 1], detached."""
    move, project = _GEOMETRY[distance]
    x = centre + start_noise * drawn(len(centre), generator, lambda n: _normal(centre, n, generator))
    for _ in range(steps):
        x.requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(x), x)
        x = project(x.detach() + step_size * move(gradient), centre, epsilon)
    return project(x.detach(), centre, epsilon)


@contextmanager
def attack_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode, no weight gradients; afterwards every module's mode and every weight's flag are as before."""
    modes = [(module, module.training) for module in model.modules()]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval()
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for weight in weights:
            weight.requires_grad_(True)


def _normal(like: Tensor, n: int, generator: Generator | None) -> Tensor:
    """(n, C, H, W) normal noise beside images such as `like`."""
    return torch.randn(n, *like.shape[1:], generator=generator, device=like.device, dtype=like.dtype)


def _sign(gradient: Tensor) -> Tensor:
    return gradient.sign()


def _unit(gradient: Tensor) -> Tensor:
    """Each image's gradient over its norm; zero stays zero."""
    return gradient / _norms(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)


def _project_l_inf(x: Tensor, centre: Tensor, epsilon: float) -> Tensor:
    return torch.minimum(torch.maximum(x, centre - epsilon), centre + epsilon).clamp(0, 1)


def _project_l_2(x: Tensor, centre: Tensor, epsilon: float) -> Tensor:
    """Into [0, 1] first: the centre lies there, so drawing back towards it stays inside."""
    change = x.clamp(0, 1) - centre
    return centre + change * (epsilon / _norms(change).clamp_min(epsilon))


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)
    return norms


_GEOMETRY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor, float], Tensor]]] = {
    "l_inf": (_sign, _project_l_inf),
    "l_2": (_unit, _project_l_2),
}


def _wide(logits: Tensor) -> Tensor:
    """At least float32: under bf16 autocast a KL of two close distributions would be rounding noise."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _check(x: Tensor, y: Tensor, epsilon: float, perturb_steps: int, distance: str) -> None:
    if distance not in _GEOMETRY:
        raise ValueError(f"distance must be one of {sorted(_GEOMETRY)}, not {distance!r}")
    if x.ndim < 2 or y.shape != x.shape[:1]:
        raise ValueError(f"x_natural must be (N, C, H, W) and y (N,), not {tuple(x.shape)} and {tuple(y.shape)}")
    if epsilon <= 0 or perturb_steps < 0:
        raise ValueError(f"epsilon must be above 0 and perturb_steps at least 0, not {epsilon} and {perturb_steps}")
