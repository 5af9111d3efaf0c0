"""A faster form of passes is taken only where it computes what the plain ones do. N batch, H height, W width."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from model.console import say
from train.precision import Passes
from train.trades import attack_mode

LIMITS: Final = {False: 1e-2, True: 0.25}
"""Largest relative difference, in float32 and in bfloat16: far above rounding in a deep network, far below a defect."""


def take_if_equal(
    passes: Passes, x: Tensor, make: Callable[[], Callable[[Tensor], Tensor]], form: str, key: str
) -> bool:
    """Let `passes` run what `make` gives, for batches such as (N, 3, H, W) `x`; whether it is done.

    Weights that require gradients: the passes of training, in train mode. None: the passes of an attack. Weights and
    statistics are afterwards as before. Where making fails, or logits or gradients differ from the plain ones, what ran
    before stays, and a line says why: the passes are not `form`, and `key` of the configuration does without trying.
    """
    kept = {name: tensor.clone() for name, tensor in passes.state_dict().items()}
    before = passes.run
    try:
        passes.run = passes.plain
        expected, limits = _standard(passes, x)
        passes.run = before
        passes.run = make()
        # Twice, since a form may have one graph for each view.
        trouble = _difference(_look(passes, x), expected, limits) or _difference(_look(passes, x), expected, limits)
    except Exception as error:  # noqa: BLE001  (whatever fails: without it training is slower, and right)
        trouble = " ".join(str(error).split())[:200] or type(error).__name__
    passes.load_state_dict(kept)
    if trouble:
        passes.run = before
        say(f'passes are not {form}: {trouble}; {key} = "off" does without trying')
    return not trouble


def of_training(passes: Passes) -> bool:
    """Whether they are for training: of an attack's no weight requires a gradient."""
    return any(weight.requires_grad for weight in passes.parameters())


def _standard(passes: Passes, x: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
    """What faster passes are held against, and how far from it they may be.

    In bfloat16 rounding alone turns the gradient of a network with random weights, in train mode, by more than its
    length. There float32 passes are the standard, and faster ones may be twice as far from it as the plain ones.
    """
    plain, limit = _look(passes, x), LIMITS[passes.autocast]
    if not passes.autocast or any(weight.dtype != torch.float32 for weight in passes.parameters()):
        return plain, dict.fromkeys(plain, limit)
    passes.autocast = False
    try:
        exact = _look(passes, x)
    finally:
        passes.autocast = True
    return exact, {name: max(limit, 2 * _relative(plain[name], exact[name])) for name in exact}


def _look(passes: Passes, x: Tensor) -> dict[str, Tensor]:
    """Logits, and the gradient that the passes are for: of the weights, or of the input."""
    weights = [weight for weight in passes.parameters() if weight.requires_grad]
    if weights:
        passes.train()
        logits = passes(x)
        return {"logits": logits.detach(), "gradient": _gradient(logits, weights)}
    with attack_mode(passes):
        with torch.no_grad():
            alone = passes(x)
        moved = x.detach().clone().requires_grad_(True)
        logits = passes(moved)
        return {"logits alone": alone, "logits": logits.detach(), "gradient": _gradient(logits, [moved])}


def _gradient(logits: Tensor, inputs: list[Tensor] | list[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(logits.log_softmax(dim=1)[:, 0].sum(), inputs)
    return torch.cat([gradient.flatten() for gradient in gradients])


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp_min(torch.finfo(wanted.dtype).tiny))


def _difference(found: dict[str, Tensor], expected: dict[str, Tensor], limits: dict[str, float]) -> str:
    """What differs too much, in words, or nothing."""
    for name, wanted in expected.items():
        relative = _relative(found[name], wanted)
        if not relative <= limits[name]:
            return f"{name} differ by {relative:.2g} of their length from the plain ones"
    return ""
