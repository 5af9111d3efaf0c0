"""A training step of TRADES beside the step as public trainers write it, and beside a plain step of cross-entropy.

    python benchmarks/trades_step.py [--sizes 64,128] [--batch 16] [--steps 10] [--rounds 5] [--device cuda]

The peer (benchmarks/peers/plain_trades.py): 2 K + 3 forward passes, NCHW, float32. Ours, each against the peer of the
same round: `equal` leaves out passes and nothing else (same layout and format, normalisations in place); `folded` runs
the search on the folded twin, channels last, and on a CPU convolutions of small maps as products. Both are float32, and
in float64 equal to the peer up to rounding (tests/unit/test_step.py). `bfloat16` is `folded` in autocast. The first
round warms up and is left out.

On a GPU each variant finds its largest batch, from `--largest` halved for as long as the device runs out of memory, and
takes that or the half of it, whichever gives more images a second. There `captured` (CUDA graphs, which keep their
memory) and `compiled` are added, each with its plain step, at the batch of `bfloat16` but at most FORM_BATCH, since
every size costs a compilation and a graph its memory; the trainer does both, one upon the other. They come after all
others, each form with the peer in rounds of its own (`peer_batch`: the peer's, as far as the graphs leave room), and
one that fails costs its own rows. `faster` says whether all passes took that form: where one fails or errs it runs as
before. cuDNN searches its algorithms for all, the peer too. `of_ideal` is the share of plain step x 3 / (2 K + 7) that
is reached. `--only compiled` measures that variant and those that it is held against.
Prints JSON and writes it to benchmarks/results/trades_step_<device>.json, anew after each round: what is cut off has
the rounds before.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.harness import write_result
from benchmarks.step_variants import FASTER, Make, Step, Variant, form_of, pictures, plain_of, slower, variants

LARGEST = 1024
"""Where a GPU's search for the largest batch begins."""
FORM_BATCH = 128
MEASURED_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="64,128", help="sides in pixels, separated by commas")
    parser.add_argument("--batch", type=int, default=16, help="on a CPU")
    parser.add_argument("--steps", type=int, default=10, help="inner steps, K")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of all variants")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--largest", type=int, default=LARGEST, help="on a GPU, where its search for a batch begins")
    parser.add_argument("--only", help="variants, separated by commas; all")
    parser.add_argument("--name", default="trades_step", help="of the result, before the device's")
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
            write_result(f"{options.name}_{device.type}", results, config, ["torch", "torchvision", "kornia"])


def measured(size: int, device: torch.device, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """The rows of all variants so far, after each round of the stage that they belong to."""
    wanted = chosen(variants(device, size), options.only)
    best: dict[str, int] = {}
    largest: dict[str, int] = {}
    rows: dict[str, object] = {}
    for form in ("", *FASTER):
        stage = {name: make for name, make in wanted.items() if form_of(name) == form}
        if not stage:
            continue
        try:
            for found in rounds({"peer": wanted["peer"], **stage}, size, device, options, best, largest):
                rows |= {name: found[name] for name in stage}
                yield dict(rows)
        except RuntimeError as error:
            if not form:
                raise
            print(f"{form}: left out: {error}", file=sys.stderr, flush=True)


def rounds(
    makes: dict[str, Make],
    size: int,
    device: torch.device,
    options: argparse.Namespace,
    best: dict[str, int],
    largest: dict[str, int],
) -> Iterator[dict[str, dict[str, object]]]:
    """These variants in turn, round by round, so that other load meets them alike; their rows after each.

    `best` and `largest`, batches by name, are found where they are not known yet.
    """
    made: dict[str, Variant] = {}
    for name, make in makes.items():
        began = time.perf_counter()
        start = options.batch if device.type == "cpu" else options.largest
        if form_of(name) and slower(name) in best:
            start = min(best[slower(name)], FORM_BATCH)
        made[name] = make(device, options.steps, start)
        if name not in best:
            fixed = device.type == "cpu" or form_of(name)
            largest[name] = start if fixed else largest_batch(made[name].step, start, size, device)
            tried = [largest[name]] if fixed else [largest[name], max(largest[name] // 2, 1)]
            best[name] = fastest(made[name].step, tried, size, device)
        seconds = time.perf_counter() - began
        print(f"{name}: batch {best[name]}, found in {seconds:.0f} s", file=sys.stderr, flush=True)
    taken: dict[str, list[float]] = {name: [] for name in made}
    batch = {name: best[name] for name in made}
    for number in range(options.rounds + 1):
        for name, variant in made.items():
            seconds = seconds_a_picture(variant, batch, name, size, device)
            if number:
                taken[name].append(seconds)
        if number:
            yield {
                name: summary(name, taken, batch, largest[name], options.steps)
                | ({} if variant.faster is None else {"faster": variant.faster})
                for name, variant in made.items()
                if plain_of(name) in taken
            }


def seconds_a_picture(variant: Variant, batch: dict[str, int], name: str, size: int, device: torch.device) -> float:
    """In a step of `batch[name]`, which is halved where the graphs of others have taken the memory since."""
    while True:
        try:
            return clock(variant.step, *pictures(batch[name], size, device)) / batch[name]
        except torch.cuda.OutOfMemoryError:
            if batch[name] == 1 or form_of(name):
                raise
        torch.cuda.empty_cache()  # only now: the error held what the step had allocated
        batch[name] //= 2


def summary(
    name: str, seconds: dict[str, list[float]], batch: dict[str, int], largest: int, steps: int
) -> dict[str, object]:
    """Medians; ratios are those of each round."""

    def ratio(peer: str, share: float = 1.0) -> float:
        pairs = zip(seconds[peer], seconds[name], strict=True)
        return round(statistics.median(theirs / mine for theirs, mine in pairs) / share, 3)

    return {
        "images_per_s": round(1 / statistics.median(seconds[name]), 3),
        "times_the_peer": ratio("peer"),
        "of_ideal": ratio(plain_of(name), 3 / (2 * steps + 7)),
        "rounds": len(seconds[name]),
        "batch": batch[name],
        "peer_batch": batch["peer"],
        "largest_batch_tried_that_fits": largest,
    }


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
    """`start`, halved for as long as a step of so many pictures runs out of the GPU's memory.

    Without cuDNN's search for algorithms, which takes seconds for each size.
    """
    batch = start
    searches, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    try:
        while True:
            try:
                step(*pictures(batch, size, device))
                return batch
            except torch.cuda.OutOfMemoryError:
                if batch == 1:
                    raise
            torch.cuda.empty_cache()  # only now: the error held what the step had allocated
            batch //= 2
    finally:
        torch.backends.cudnn.benchmark = searches


def fastest(step: Step, batches: list[int], size: int, device: torch.device) -> int:
    """The batch with the most images a second, of those that fit beside the memory of cuDNN's fastest algorithms."""
    if len(batches) == 1:
        return batches[0]
    rates = {}
    for batch in batches:
        try:
            x, y = pictures(batch, size, device)
            step(x, y)
            rates[batch] = batch / clock(step, x, y)
        except torch.cuda.OutOfMemoryError:
            continue
    return max(rates, key=lambda batch: rates[batch], default=max(batches[-1] // 2, 1))


if __name__ == "__main__":
    main()
