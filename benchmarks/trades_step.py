"""A training step of TRADES beside the step as public trainers write it, and beside a plain step of cross-entropy.

    python benchmarks/trades_step.py [--sizes 64,128] [--batch 16] [--steps 10] [--rounds 5] [--device cuda]

The peer (benchmarks/peers/plain_trades.py): 2 K + 3 forward passes, NCHW, float32. Ours, each against the peer of the
same round: `equal` leaves out passes and nothing else (same layout and format, normalisations in place); `folded` runs
the search on the folded twin, channels last, and on a CPU convolutions of small maps as products. Both are float32, and
in float64 equal to the peer up to rounding (tests/unit/test_step.py). `bfloat16` is `folded` in autocast. The first
round warms up and is left out.

On a GPU each variant finds its largest batch, from LARGEST halved for as long as the device runs out of memory, and
takes that or the half of it, whichever gives more images a second. There `captured` (CUDA graphs, which keep their
memory) and `compiled` are added, each with its plain step, at the batch of `bfloat16`, since every size costs a
compilation; the trainer does both, one upon the other. `faster` says whether all passes took that form: where one fails
or errs it runs as before. cuDNN searches its algorithms for all, the peer too. `of_ideal` is the share of plain step x
3 / (2 K + 7) that is reached. `--only compiled` measures that variant and those that it is held against.
Prints JSON and writes it to benchmarks/results/trades_step_<device>.json, anew after each round: what is cut off has
the rounds before.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import write_result
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
LARGEST = 512
"""Where a GPU's search for the largest batch begins."""
FASTER: dict[str, tuple[Callable[[Passes, Tensor], bool], ...]] = {
    "captured": (capture_passes,),
    "compiled": (compile_passes,),
}
"""What is made of the passes of `bfloat16`, whose batch these take too."""
MEASURED_S = 0.5
Step = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True)
class Variant:
    """A way to make a step."""

    step: Step
    faster: bool | None = None
    """Whether all its passes took the form it is named for; None where they have none."""


Make = Callable[[torch.device, int, int], Variant]
"""(device, K, the batch that its passes are compiled or captured for) -> a variant."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="64,128", help="sides in pixels, separated by commas")
    parser.add_argument("--batch", type=int, default=16, help="on a CPU")
    parser.add_argument("--steps", type=int, default=10, help="inner steps, K")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of all variants")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only", help="variants, separated by commas; all")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = options.device == "cuda"  # as the trainer
    device = torch.device(options.device)
    sizes = [int(size) for size in options.sizes.split(",")]
    config = {
        **vars(options),
        "network": "resnet50",
        "optimizer": "SGD with momentum",
        "device_name": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
    }
    results: dict[str, object] = {}
    for size in sizes:
        for rows in measured(size, device, options):
            results[f"{size} px"] = rows
            write_result(f"trades_step_{device.type}", results, config, ["torch", "torchvision", "kornia"])


def measured(size: int, device: torch.device, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """All variants in turn, round by round, so that other load meets them alike; the rows after each."""
    made: dict[str, Variant] = {}
    largest: dict[str, int] = {}
    best: dict[str, int] = {}
    for name, make in chosen(variants(device, size), options.only).items():
        began = time.perf_counter()
        start = options.batch if device.type == "cpu" else best.get(slower(name), LARGEST)
        made[name] = make(device, options.steps, start)
        step = made[name].step
        largest[name] = start if device.type == "cpu" else largest_batch(step, start, size, device)
        alone = device.type == "cpu" or slower(name) in best
        tried = [largest[name]] if alone else [largest[name], largest[name] // 2]
        best[name] = fastest(step, tried, size, device)
        print(f"{name}: batch {best[name]}, found in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for number in range(options.rounds + 1):
        for name, variant in made.items():
            taken = clock(variant.step, *pictures(best[name], size, device))
            if number:
                seconds[name].append(taken / best[name])
        if number:
            yield {
                name: summary(name, seconds, best[name], largest[name], options.steps)
                | ({} if variant.faster is None else {"faster": variant.faster})
                for name, variant in made.items()
            }


def summary(name: str, seconds: dict[str, list[float]], batch: int, largest: int, steps: int) -> dict[str, object]:
    """Medians; ratios are those of each round."""

    def ratio(peer: str, share: float = 1.0) -> float:
        pairs = zip(seconds[peer], seconds[name], strict=True)
        return round(statistics.median(theirs / mine for theirs, mine in pairs) / share, 3)

    return {
        "images_per_s": round(1 / statistics.median(seconds[name]), 3),
        "times_the_peer": ratio("peer"),
        "of_ideal": ratio(plain_of(name), 3 / (2 * steps + 7)),
        "rounds": len(seconds[name]),
        "batch": batch,
        "largest_batch_tried_that_fits": largest,
    }


def plain_of(name: str) -> str:
    """The step of cross-entropy in the same number format and form."""
    form = name.removeprefix("plain ")
    return f"plain {form}" if form in ("bfloat16", *FASTER) else "plain"


def slower(name: str) -> str:
    """The variant whose passes one is made of, and whose batch it takes; itself, where it is none of FASTER."""
    form = name.removeprefix("plain ")
    return name.replace(form, "bfloat16") if form in FASTER else name


def chosen(all_of_them: dict[str, Make], only: str | None) -> dict[str, Make]:
    """Those that `only` names, with what they are held against; all without it."""
    if only is None:
        return all_of_them
    names = ["peer", *(name.strip() for name in only.split(","))]
    if unknown := [name for name in names if name not in all_of_them]:
        raise SystemExit(f"--only: no variant is called {', '.join(unknown)}; there are {', '.join(all_of_them)}")
    wanted = {found for name in names for found in (name, plain_of(name), slower(name), slower(plain_of(name)))}
    wanted |= {plain_of(name) for name in wanted}
    return {name: make for name, make in all_of_them.items() if name in wanted}


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


def clock(step: Step, x: Tensor, y: Tensor) -> float:
    """Seconds of one step, the median of as many as fill half a second; reading the loss has waited for the device.

    After a variant of other sizes the first also gives memory back and takes it anew, which is much of a short step.
    """
    taken: list[float] = []
    while sum(taken) < MEASURED_S:
        started = time.perf_counter()
        step(x, y)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def largest_batch(step: Step, start: int, size: int, device: torch.device) -> int:
    """`start`, halved for as long as a step of so many pictures runs out of the GPU's memory."""
    batch = start
    while True:
        try:
            step(*pictures(batch, size, device))
            return batch
        except torch.cuda.OutOfMemoryError:
            if batch == 1:
                raise
        torch.cuda.empty_cache()  # only now: the error held what the step had allocated
        batch //= 2


def fastest(step: Step, batches: list[int], size: int, device: torch.device) -> int:
    """The batch with the most images a second."""
    if len(batches) == 1:
        return batches[0]
    rates = {}
    for batch in batches:
        x, y = pictures(batch, size, device)
        step(x, y)
        rates[batch] = batch / clock(step, x, y)
    return max(rates, key=lambda batch: rates[batch])


if __name__ == "__main__":
    main()
