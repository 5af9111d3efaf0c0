"""What benchmarks/trades_step.py measures: the peer's step of TRADES, ours in its forms, and plain cross-entropy."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers.plain_trades import plain_step
from model.architecture import PixelClassifier
from model.folding import FoldedTwin
from model.small_maps import multiply_small_maps
from train.capture import capture_passes
from train.compilation import compile_passes
from train.config import OptimizerConfig
from train.precision import Passes
from train.step import make_optimizer
from train.trades import trades_loss

EPSILON, STEP_SIZE, BETA = 8 / 255, 2 / 255, 6.0
FASTER: dict[str, tuple[Callable[[Passes, Tensor], bool], ...]] = {
    "captured": (capture_passes,),
    "compiled": (compile_passes,),
}
"""What is made of the passes of `bfloat16`, whose batch these take too."""
Step = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True)
class Variant:
    """A way to make a step."""

    step: Step
    faster: bool | None = None
    """Whether all its passes took the form it is named for; None where they have none."""


Make = Callable[[torch.device, int, int], Variant]
"""(device, K, the batch that its passes are compiled or captured for) -> a variant."""


def plain_of(name: str) -> str:
    """The step of cross-entropy in the same number format and form."""
    form = name.removeprefix("plain ")
    return f"plain {form}" if form in ("bfloat16", *FASTER) else "plain"


def form_of(name: str) -> str:
    """Which of FASTER a variant is, or nothing."""
    form = name.removeprefix("plain ")
    return form if form in FASTER else ""


def slower(name: str) -> str:
    """The variant whose passes one is made of, and whose batch it takes; itself, where it is none of FASTER."""
    form = form_of(name)
    return name.replace(form, "bfloat16") if form else name


def variants(device: torch.device, size: int) -> dict[str, Make]:
    """By name what makes one."""
    found: dict[str, Make] = {
        "peer": lambda d, k, _: peer(d, k),
        "equal": lambda d, k, _: ours(d, k, fold=False, bfloat16=False),
        "folded": lambda d, k, _: ours(d, k, fold=True, bfloat16=False),
        "bfloat16": lambda d, k, _: ours(d, k, fold=True, bfloat16=True),
        "plain": lambda d, *_: plain(d, bfloat16=False),
        "plain bfloat16": lambda d, *_: plain(d, bfloat16=True),
    }
    if device.type == "cuda":
        for form in FASTER:
            found[form] = lambda d, k, n, form=form: ours(d, k, fold=True, bfloat16=True, form=form, shape=(n, size))
            found[f"plain {form}"] = lambda d, _, n, form=form: plain(d, bfloat16=True, form=form, shape=(n, size))
    return found


def network_on(device: torch.device) -> PixelClassifier:
    torch.manual_seed(0)
    return PixelClassifier().to(device).train()


def peer(device: torch.device, perturb_steps: int) -> Variant:
    network = network_on(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=2e-4)
    settings = {"epsilon": EPSILON, "step_size": STEP_SIZE, "perturb_steps": perturb_steps, "beta": BETA}
    return Variant(lambda x, y: plain_step(network, optimizer, x, y, **settings))


def prepare(network: PixelClassifier, device: torch.device) -> None:
    """As the trainer does it: channels last, and on a CPU products of matrices for small maps."""
    network.to(memory_format=torch.channels_last)
    if device.type == "cpu":
        multiply_small_maps(network)


def ours(
    device: torch.device,
    perturb_steps: int,
    *,
    fold: bool,
    bfloat16: bool,
    form: str = "",
    shape: tuple[int, int] = (0, 0),
) -> Variant:
    """The trainer's step without augmentation: `equal` differs from the peer in the passes alone.

    `form`: one of FASTER, for batches of `shape`, number and side.
    """
    network = network_on(device)
    if fold:
        prepare(network, device)
    optimizer = make_optimizer(network, OptimizerConfig(name="sgd", learning_rate=1e-3, weight_decay=2e-4))
    trained = Passes(network, bfloat16=bfloat16)
    twin = FoldedTwin(network, torch.bfloat16 if bfloat16 else None)
    attacked = Passes(twin.network, bfloat16=bfloat16) if fold else None
    done = speed_up([attacked, trained], form, shape, device) if form and attacked else None

    def step(x: Tensor, y: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        if fold:
            x = x.contiguous(memory_format=torch.channels_last)
            twin.refresh()
        terms = trades_loss(trained, x, y, EPSILON, STEP_SIZE, perturb_steps, BETA, attacked=attacked)
        terms.loss.backward()
        optimizer.step()
        return terms.loss.item()

    return Variant(step, done)


def speed_up(kinds: list[Passes], form: str, shape: tuple[int, int], device: torch.device) -> bool:
    """Bring each kind of passes into `form`, for batches of (number, side); whether all are."""
    torch._dynamo.config.recompile_limit = 64  # one graph for each kind, mode and batch size
    x, _ = pictures(*shape, device)
    x = x.contiguous(memory_format=torch.channels_last)
    done = [make(passes, x) for make in FASTER[form] for passes in kinds]
    return all(done)


def plain(device: torch.device, *, bfloat16: bool, form: str = "", shape: tuple[int, int] = (0, 0)) -> Variant:
    """Cross-entropy alone, laid out as ours."""
    network = network_on(device)
    prepare(network, device)
    optimizer = make_optimizer(network, OptimizerConfig(name="sgd", learning_rate=1e-3, weight_decay=2e-4))
    passes = Passes(network, bfloat16=bfloat16)
    done = speed_up([passes], form, shape, device) if form else None

    def step(x: Tensor, y: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(passes(x.contiguous(memory_format=torch.channels_last)), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Variant(step, done)


def pictures(batch: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 3, size, size, device=device), torch.arange(batch, device=device) % 2
