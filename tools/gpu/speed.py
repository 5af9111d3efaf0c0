"""How fast the model answers without HTTP, and where the time of a training step goes. B batch, S side."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from model.architecture import PixelClassifier
from model.bundle import load_bundle
from model.runtime import Runtime
from model.torch_runtime import HALF_PRECISIONS, TorchRuntime
from tools.gpu.plan import Plan
from train.config import TrainConfig
from train.schedule import phase_at
from train.step import TrainStep

SECONDS: Final = 1.5
"""Of one measurement."""


def model_rates(plan: Plan, bundle: Path, rounds: int) -> dict[str, Any]:
    """Images a second of the service's runtime in each precision, beside the bare network in eager mode.

    The peer is what `torch` does without us: float32, NCHW, uint8 pixels copied from the host and logits back.
    """
    seconds = 0.05 if plan.rehearse else SECONDS
    runtimes: dict[str, Runtime] = {"float32": TorchRuntime(bundle, plan.device, 1)}
    if not plan.rehearse:
        runtimes |= {precision: TorchRuntime(bundle, plan.device, 1, precision) for precision in HALF_PRECISIONS}
    batch = runtimes["float32"].batch_sizes[-1]
    size = runtimes["float32"].input_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    bare = load_bundle(bundle, plan.device)

    @torch.inference_mode()
    def peer() -> None:
        bare(torch.from_numpy(pixels).to(plan.device).permute(0, 3, 1, 2).contiguous().float() / 255).cpu()

    rates: dict[str, list[float]] = {name: [] for name in ("peer", *runtimes)}
    for number in range(rounds + 1):  # the first warms up
        for name, work in {"peer": peer, **{n: _runs(r, pixels) for n, r in runtimes.items()}}.items():
            rate = batch * _calls_per_s(work, seconds)
            if number:
                rates[name].append(rate)
    return {
        name: {
            "images_per_s": round(median(found), 1),
            "times_the_peer": round(median(a / b for a, b in zip(found, rates["peer"], strict=True)), 3),
            "n": len(found),
        }
        for name, found in rates.items()
    } | {"batch": batch, "input_size": size}


def _runs(runtime: Runtime, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Callable[[], object]:
    return lambda: runtime.run(pixels)


def _calls_per_s(work: Callable[[], object], seconds: float) -> float:
    work()
    started, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - started < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - started)


def step_profile(config: TrainConfig, device: str, steps: int = 3) -> dict[str, Any]:
    """Where a step of TRADES spends its time: the dearest kernels, and the share of the time that the device works.

    `seconds` of a step, the median of `steps` times three, without a profiler: as configured, and with no graphs.
    """
    runs = {
        form: _runs_of(config.model_copy(update={"capture": capture}), device)
        for form, capture in (("as configured", config.capture), ("not captured", "off"))
    }
    taken: dict[str, list[float]] = {form: [] for form in runs}
    for number in range(3 * steps + 3):  # the first three warm up
        for form, run in runs.items():
            started = time.perf_counter()
            run(number)
            taken[form].append(time.perf_counter() - started)
    seconds = {form: {"median": round(median(found[3:]), 5), "n": len(found) - 3} for form, found in taken.items()}
    cuda = device.startswith("cuda")
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    started = time.perf_counter()
    with profile(activities=activities) as recorded:
        for number in range(steps):
            runs["as configured"](number)
    wall_us = 1e6 * (time.perf_counter() - started)
    profiled = {"steps": steps, "seconds_a_step": round(wall_us / 1e6 / steps, 5), **_dearest(recorded, cuda, wall_us)}
    return {"seconds": seconds, "profiled": profiled}


def _runs_of(config: TrainConfig, device: str) -> Callable[[int], object]:
    """Steps at full strength on one fixed batch, by number."""
    step = TrainStep(PixelClassifier(config.architecture), config, torch.device(device))
    step.speed_up()
    shape = (config.batch_size, 3, config.stored_size, config.stored_size)
    photos = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    y = torch.arange(config.batch_size, device=device) % 2
    phase = phase_at(config, config.epochs - 0.01)
    return lambda number: step(photos, y, phase, number)


def _dearest(recorded: profile, cuda: bool, wall_us: float, most: int = 25) -> dict[str, Any]:
    def own(event: Any) -> float:
        return float(event.self_device_time_total if cuda else event.self_cpu_time_total)

    kernels = [event for event in recorded.key_averages() if not cuda or "cuda" in str(event.device_type).lower()]
    busy = sum(own(event) for event in kernels)
    rows = [
        {"name": event.key[:120], "share": round(own(event) / busy, 4), "calls": event.count}
        for event in sorted(kernels, key=own, reverse=True)[:most]
    ]
    return {"busy_share": round(busy / wall_us, 4), "dearest": rows}
