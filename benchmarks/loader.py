"""How fast photos come, cache warm, beside what the model takes: reading, augmentation and both views against a step.

    python benchmarks/loader.py [--size 64] [--batch 64] [--steps 10] [--photos 2000] [--device cuda] [--rounds 5]

`feed` is the loader: rows of the cache on the device. `prepared` adds augmentation and the two random maps, on the
device as in training. The steps are the trainer's own on one fixed batch, in its automatic precision: TRADES with K
inner steps, and plain cross-entropy, which takes the most photos a second. On a GPU `step_with_loader` over
`step_on_fixed_batch` is what loading costs: both augment the next step's photos while the device works, as the trainer
does. Prints JSON and writes it to benchmarks/results/loader_<device>.json.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import write_result
from benchmarks.memory import draw
from benchmarks.step_variants import ours, plain
from model.architecture import PixelClassifier
from train.augment import augment
from train.batches import Batches
from train.cache import open_cache
from train.config import TrainConfig, parse_config
from train.feed import Feed
from train.precision import takes_bfloat16
from train.randomness import generator_of
from train.schedule import phase_at
from train.step import TrainStep
from train.views import random_view

LOADER_BATCHES = 20
"""Batches in one measurement of the loader, which is fast."""
STEPS = {"cpu": 1, "cuda": 5}
"""Steps in one measurement, which on a GPU are short."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = run_config(options)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRADES_BOB_CACHE"] = f"{folder}/cache"
        draw(Path(folder) / "train", options.photos)
        photos = open_cache(Path(folder) / "train", config.stored_size)
        batches = Batches(photos.labels, options.batch, seed=0)
        feed = Feed(photos, batches.at, torch.device(options.device))
        result = measured(feed, config, options)
        feed.close()
    write_result(f"loader_{options.device}", result, vars(options), ["torch", "torchvision", "kornia"])


def run_config(options: argparse.Namespace) -> TrainConfig:
    return parse_config(
        {
            "epochs": 1,
            "batch_size": options.batch,
            "input_size": options.size,
            "compilation": "off",  # as the release; the passes of two steps would be compiled for minutes
            "loss": {"perturb_steps": options.steps},
        },
        "benchmark",
    )


def measured(feed: Feed, config: TrainConfig, options: argparse.Namespace) -> dict[str, object]:
    """Photos a second; medians over rounds in which all take their turn."""
    measures = measures_of(feed, config)
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(options.rounds + 1):
        for name, (measure, batches) in measures.items():
            started = time.perf_counter()
            for step in range(batches):
                measure(number * batches + step)
            if feed.device.type == "cuda":
                torch.cuda.synchronize()
            if number:
                rates[name].append(batches * options.batch / (time.perf_counter() - started))
    result: dict[str, object] = {name: round(statistics.median(values), 1) for name, values in rates.items()}

    def ratio(over: str, under: str) -> float:
        return round(statistics.median(a / b for a, b in zip(rates[over], rates[under], strict=True)), 2)

    return {
        "photos_per_s": result,
        "n": options.rounds,
        "feed_over_trades": ratio("feed", "trades"),
        "prepared_over_trades": ratio("prepared", "trades"),
        "feed_over_plain": ratio("feed", "plain"),
        "prepared_over_plain": ratio("prepared", "plain"),
        "step_with_loader_over_fixed_batch": ratio("step_with_loader", "step_on_fixed_batch"),
    }


def measures_of(feed: Feed, config: TrainConfig) -> dict[str, tuple[Callable[[int], object], int]]:
    """What is measured, and over how many batches at a time; it is called with steps in a row."""
    device = feed.device
    bfloat16 = takes_bfloat16(config.precision, device)
    trades = ours(device, config.loss.perturb_steps, fold=True, bfloat16=bfloat16).step
    simple = plain(device, bfloat16=bfloat16).step
    loaded, repeated = (TrainStep(PixelClassifier(config.architecture), config, device) for _ in range(2))
    for whole in (loaded, repeated):
        whole.speed_up()
    phase = phase_at(config, 0.5)
    fixed, y = feed.at(0)
    again = (lambda: fixed) if feed.resident else None
    x = prepare(fixed, config, 0)
    steps = STEPS[device.type]
    return {
        "feed": (feed.at, LOADER_BATCHES),
        "prepared": (lambda step: prepare(feed.at(step)[0], config, step), LOADER_BATCHES),
        "trades": (lambda _: trades(x, y), steps),
        "plain": (lambda _: simple(x, y), steps),
        "step_with_loader": (lambda step: loaded(*feed.at(step), phase, step, feed.following(step)), steps),
        "step_on_fixed_batch": (lambda step: repeated(fixed, y, phase, step, again), steps),
    }


def prepare(photos: Tensor, config: TrainConfig, step: int) -> Tensor:
    """Augmentation and two random views, as in a step; the second view."""
    generator = generator_of(0, "augment", step, device=photos.device)
    x = augment(photos, config.input_size, config.augment, generator)
    random_view(x, config.spatial.span, generator)
    return random_view(x, config.spatial.span, generator)


if __name__ == "__main__":
    main()
