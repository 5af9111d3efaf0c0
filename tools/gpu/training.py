"""The release training on the GPU machine: fitted to the minutes there are, boxed, continued, and made a bundle."""

import json
import time
import tomllib
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch

from model.architecture import PixelClassifier
from model.errors import TrainingError
from model.files import write_json
from model.photos import find_photos
from tools.gpu.plan import Plan
from tools.gpu.record import record
from tools.gpu.run import BRING_EVERY_S
from train.checkpoint import FILE as CHECKPOINT_FILE
from train.checkpoint import read_checkpoint
from train.config import TrainConfig, parse_config
from train.loop import Trainer, train
from train.release import release
from train.schedule import phase_at
from train.step import TrainStep
from train.watch import read_metrics

RECIPE: Final = Path(__file__).with_name("release.toml")
LENGTHS: Final = (("loss", "natural_epochs"), ("loss", "epsilon_warmup_epochs"), ("spatial", "warmup_epochs"))
SHARE: Final = 0.9
"""Of the time is planned for; the rest is for what was not foreseen."""
START_S: Final = 60.0
"""Imports, decoding and graphs, where nothing is measured."""
TINY: Final[dict[str, Any]] = {"batch_size": 8, "input_size": 32, "cache_size": 36, "threads": 1}
WARM_UP, MEASURED = 3, 5


def train_box(plan: Plan, seconds: float) -> bool:
    """Train for at most so many seconds, from the start or from the checkpoint; whether the run is finished."""
    started = time.monotonic()
    config = _config(plan, started)
    left = seconds - (time.monotonic() - started) - (1 if plan.rehearse else 20)
    minutes = min(max(left, 1) / 60, plan.train_minutes)
    try:
        finished = train(
            config,
            plan.photos,
            plan.run,
            resume=True,
            device=plan.device,
            minutes=minutes,
            checkpoint_every_s=BRING_EVERY_S,
        )
    finally:
        _record(plan, config)
    return finished is not None


def make_bundle(plan: Plan) -> str:
    """The best weights so far, rounded to half precision before the threshold is set: every label is then the same."""
    config = parse_config(json.loads((plan.run / "run.json").read_text()), "run.json")
    trainer = Trainer(config, plan.photos, plan.run, torch.device(plan.device), resume=True)
    if trainer.step == 0:
        raise TrainingError(f"{plan.run}: no step of training was saved, so there is nothing to release")
    kept = trainer.average.network.state_dict() if config.validation.keep == "last" else trainer.selection.best
    trainer.selection.best = {
        name: tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor for name, tensor in kept.items()
    }
    validation = trainer.release()
    metadata = release(plan.run, [plan.photos / "val"], plan.bundle)
    figures = {"steps": trainer.step, "weights_sha256": metadata.weights_sha256, "val": validation.flat()}
    record(plan, "bundle", figures, validation.counts)
    _record(plan, config)  # of a training that was cut off too
    return ", ".join(f"{name} {value:.1%}" for name, value in validation.flat().items())


def fitted(table: dict[str, Any], natural_s: float, robust_s: float, steps: int, seconds: float) -> dict[str, Any]:
    """The recipe with all lengths scaled by one factor, so that it takes `seconds`; `steps` an epoch.

    natural_s, robust_s: seconds of a step of cross-entropy and of TRADES.
    """
    natural = table["loss"]["natural_epochs"]
    whole = steps * (natural * natural_s + (table["epochs"] - natural) * robust_s)
    factor = seconds / whole
    for section, name in LENGTHS:
        table[section][name] = round(table[section][name] * factor, 3)
    table["epochs"] = max(round(table["epochs"] * factor, 3), 2 / steps)
    table["optimizer"]["warmup_epochs"] = min(table["optimizer"]["warmup_epochs"], table["epochs"] / 2)
    every = table["validation"]["every_epochs"]
    table["validation"]["every_epochs"] = min(max(every * min(factor, 1), 0.5), table["epochs"])
    return table


def tiny(table: dict[str, Any]) -> dict[str, Any]:
    """The recipe in the sizes of a rehearsal."""
    return {**table, **TINY, "architecture": {**table["architecture"], "backbone": "resnet18"}}


def _config(plan: Plan, started: float) -> TrainConfig:
    """RUN/run.json, made first where there is none: a run keeps its configuration wherever it goes on."""
    file = plan.run / "run.json"
    if not file.exists():
        table = tomllib.loads(RECIPE.read_text())
        if (plan.start / "bundle.json").exists():
            table["start_from"] = str(plan.start.resolve())
        if plan.rehearse:
            table = tiny(table)
            table["validation"] = {**table["validation"], "photos": 8, "perturb_steps": 2}
        whole = parse_config(table, str(RECIPE))
        steps = max(len(find_photos(plan.photos / "train")) // whole.batch_size, 1)
        if plan.step_seconds:
            natural_s = robust_s = plan.step_seconds
            spent = START_S
        else:
            Trainer(whole, plan.photos, plan.run, torch.device(plan.device)).feed.close()
            natural_s, robust_s = step_seconds(whole, plan.device)
            spent = 2 * (time.monotonic() - started)  # training pays it again: imports, photos, compilation
        seconds = SHARE * (60 * plan.train_minutes - spent)
        table = fitted(table, natural_s, robust_s, steps, max(seconds, 1))
        write_json(file, table)
        print(f"a step: natural {natural_s:.4f} s, TRADES {robust_s:.4f} s; {table['epochs']} epochs", flush=True)
    return parse_config(json.loads(file.read_text()), str(file))


def step_seconds(config: TrainConfig, device: str) -> tuple[float, float]:
    """Median seconds of a step of cross-entropy and of one of TRADES at full strength, each after a warm-up."""
    step = TrainStep(PixelClassifier(config.architecture), config, torch.device(device))
    step.speed_up()
    shape = (config.batch_size, 3, config.stored_size, config.stored_size)
    photos = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    y = torch.arange(config.batch_size, device=device) % 2
    seconds = []
    for epoch in (config.loss.natural_epochs / 2, config.epochs - 0.01):
        phase, taken = phase_at(config, epoch), []
        for number in range(WARM_UP + MEASURED):
            started = time.monotonic()
            step(photos, y, phase, number)  # its figures are read at its end: the device has been waited for
            taken.append(time.monotonic() - started)
        seconds.append(median(taken[WARM_UP:]))
    return seconds[0], seconds[1]


def steps_done(plan: Plan) -> int:
    """Of the checkpoint. Raises DataError for a broken one."""
    return read_checkpoint(plan.run).step


def _record(plan: Plan, config: TrainConfig) -> None:
    if not (plan.run / CHECKPOINT_FILE).exists():
        return
    lines = read_metrics(plan.run)
    steps = [line for line in lines if "images_per_s" in line]
    rates = {
        kind: [line["images_per_s"] for line in steps if (line["epsilon"] > 0) == (kind == "trades")]
        for kind in ("natural", "trades")
    }
    result = {
        "steps": steps_done(plan),
        "images_per_s": {kind: {"median": median(found), "n": len(found)} for kind, found in rates.items() if found},
        "validations": [line for line in lines if "robust_at_100" in line],
    }
    record(plan, "training", result, config.model_dump(mode="json", exclude={"start_from"}))
