"""The commands `trades-bob train`, `release` and `demo`."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from model.errors import ConfigError, TradesBobError, TrainingError


def train(
    run: Annotated[Path, typer.Argument(metavar="RUN.toml", help="The run's configuration, or a recipe's name.")],
    data: Annotated[Path, typer.Option(help="Folder with train/ and val/, each with bicycle/ and bird/.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle, checkpoint, metrics and curves.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    minutes: Annotated[
        float | None, typer.Option(help="Stop at a checkpoint once so many minutes are over; exit 0.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the final figures here.")] = None,
) -> None:
    """Train the classifier with TRADES under random rotations and translations; ends with a bundle in --out."""
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: choose auto, cpu or cuda")
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"--minutes {minutes:g}: give more than 0")
    signal.signal(signal.SIGTERM, _stopped)
    from dataclasses import asdict

    from model.files import refuse_unwritable, write_json
    from train.checkpoint import way_on
    from train.config import read_config
    from train.loop import train as run_training

    if first := os.environ.get("RANK", "0") == "0":
        refuse_unwritable(json_file)
    try:
        validation = run_training(read_config(run), data, out, resume=resume, device=device, minutes=minutes)
    except TrainingError as error:
        if not first:  # the first process says it
            raise
        raise TrainingError(f"{error}; {way_on(out)}") from error
    if json_file is not None and validation is not None and first:
        write_json(json_file, asdict(validation))


def _stopped(*_: object) -> None:
    if isinstance(sys.exception(), TradesBobError):  # it ends with its own reason already
        return
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    lost = ", which torchrun sends when another process of the run has ended" if several else ""
    raise TrainingError(f"stopped by SIGTERM{lost}")


def release(
    bundle: Annotated[Path, typer.Argument(help="A run's bundle.")],
    photos: Annotated[
        list[Path], typer.Option(help="Folder with bicycle/ and bird/ whose labels must stay; repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the bundle to ship; a bundle there is replaced.")],
    calibrate: Annotated[
        Path | None, typer.Option(help="Set the threshold anew, on this folder's photos, clean and corrupted.")
    ] = None,
    average_with: Annotated[
        list[Path] | None,
        typer.Option(help="A bundle to average the weights with, of a run with the same start; repeatable."),
    ] = None,
) -> None:
    """Write a bundle with weights of half precision; refuses when a label changes."""
    from train.release import release as run_release

    metadata = run_release(bundle, photos, out, calibrate, average_with or ())
    print(f"{out}: weights {metadata.weights_sha256[:12]}..., the same labels in half precision")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures, bundle, attack and report.")] = Path("demo-out"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Draw pictures, train small, serve, predict and attack over HTTP, and write a report; about five minutes."""
    from dataclasses import asdict

    from model.files import refuse_unwritable, write_json
    from train.demo import REPORT_FILE
    from train.demo import demo as run_demo

    refuse_unwritable(json_file)
    try:
        figures = run_demo(out)
    except TrainingError as error:
        raise TrainingError(f"{error}; the next demo begins anew") from error
    print(
        f"{figures.right} of {figures.pictures} unseen pictures right over HTTP ({figures.accuracy:.1%}), "
        f"{figures.abstained} abstained; {figures.adversarial} of {figures.attacked} attacked found adversarial; "
        f"{figures.seconds:.0f} s\nreport: {(out / REPORT_FILE).resolve()}"
    )
    if json_file is not None:
        write_json(json_file, asdict(figures))
