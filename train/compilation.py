"""Compiled passes (torch.compile), taken only where they compute what the plain ones do. N batch, H height, W width.

Wrong values have been reported of compiled norms in eval mode (pytorch #181696), and a graph that serves both modes is
compiled anew at every change of mode (#110803). So the passes of the attack and those of training are compiled apart,
each for one batch shape, and each is first held against the plain one, gradients too.
"""

from typing import Final, Literal

import torch
from torch import Tensor, nn

from model.console import say
from train.precision import Passes
from train.trades import attack_mode

Compilation = Literal["auto", "on", "off"]
LIMITS: Final = {False: 1e-2, True: 0.25}
"""Largest relative difference, in float32 and in bfloat16: far above rounding in a deep network, far below a defect."""


def takes_compilation(wanted: Compilation, device: torch.device) -> bool:
    """Whether passes on `device` are compiled: asked for, or `auto` on CUDA."""
    return wanted == "on" or (wanted == "auto" and device.type == "cuda")


def compile_passes(passes: Passes, x: Tensor) -> bool:
    """Compile `passes` for batches such as (N, 3, H, W) `x`; whether it is done.

    Weights that require gradients: the passes of training, in train mode. None: the passes of an attack. Weights and
    statistics are afterwards as before. Where the compiler fails or its passes differ, they stay plain, said in a line.
    """
    kept = {name: tensor.clone() for name, tensor in passes.state_dict().items()}
    kind = "training" if any(weight.requires_grad for weight in passes.parameters()) else "the attack"
    say(f"compiling the passes of {kind}: up to two minutes")
    try:
        expected, limits = _standard(passes, x)
        passes.run = torch.compile(passes.plain, dynamic=False)
        trouble = _difference(_look(passes, x), expected, limits)
    except Exception as error:  # noqa: BLE001  (whatever a compiler does: without it training is slower, and right)
        trouble = " ".join(str(error).split())[:200] or type(error).__name__
    passes.load_state_dict(kept)
    if trouble:
        passes.run = passes.plain
        say(f'passes are not compiled: {trouble}; compilation = "off" does without trying')
    return not trouble


def _standard(passes: Passes, x: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
    """What compiled passes are held against, and how far from it they may be.

    In bfloat16 rounding alone turns the gradient of a network with random weights, in train mode, by more than its
    length. There float32 passes are the standard, and compiled ones may be twice as far from it as the plain ones.
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
