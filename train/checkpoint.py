"""The state of a run on disk, written whole or not at all; read back without running any code from the file."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.errors import DataError, TrainingError
from model.files import replace_file
from train.provenance import Leg

FILE = "checkpoint.pt"
DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Checkpoint:
    """All that a run cannot draw anew from its seed. `step` steps are done."""

    step: int
    network: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[str, Any]
    best: dict[str, Any]
    """The averaged weights of the best validation so far."""
    best_score: tuple[float, float]
    stale: int
    """Validations since the best one."""
    fingerprint: str
    """Of the configuration and the data; another run's checkpoint is refused."""
    start_sha256: str | None = None
    """Of the weights that the run began from, where they were a bundle's."""
    legs: Sequence[Leg] = ()
    """With which learning_rate and beta it came so far; none in a checkpoint of an older version."""


def save_checkpoint(out: Path, checkpoint: Checkpoint) -> None:
    """Replace OUT/checkpoint.pt: what torch writes, and behind it the SHA-256 of that, which torch passes over.

    Raises TrainingError, one line, when the disk does not take it or a weight or statistic is not finite: a finite loss
    may come of a network whose statistics have overflowed.
    """
    broken = [name for name, tensor in checkpoint.network.items() if not tensor.isfinite().all()]
    if broken:
        raise TrainingError(f"{broken[0]} is not finite after step {checkpoint.step}; not saved")
    buffer = io.BytesIO()
    torch.save(vars(checkpoint), buffer)
    try:
        replace_file(out / FILE, buffer.getvalue() + hashlib.sha256(buffer.getbuffer()).digest())
    except OSError as error:
        raise TrainingError(f"{out / FILE}: {error.strerror}") from error


def way_on(out: Path) -> str:
    """How a run that has stopped is gone on with, in words."""
    if (out / FILE).exists():
        return f"{out / FILE} is whole, and --resume goes on from it"
    return f"there is no checkpoint in {out} yet, so the next run begins anew"


def load_checkpoint(out: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint in OUT, or None. Raises DataError when it is broken or of another configuration or data set."""
    if not (out / FILE).exists():
        return None
    checkpoint = read_checkpoint(out)
    if checkpoint.fingerprint != fingerprint:
        raise DataError(f"{out / FILE}: of a run with another configuration or other photos; choose another --out")
    return checkpoint


def read_checkpoint(out: Path) -> Checkpoint:
    """The checkpoint in OUT, of whatever run. Raises DataError when it is broken."""
    file = out / FILE
    try:
        _check(file)
        # weights_only: tensors and plain containers alone, no code.
        return Checkpoint(**torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:
        line = f"{file}: damaged, or not a checkpoint that this version can read; move it away to start anew"
        raise DataError(line) from error


def _check(file: Path) -> None:
    """Raises ValueError where what torch wrote has not the SHA-256 that lies behind it: torch itself checks none."""
    content = memoryview(file.read_bytes())
    if hashlib.sha256(content[:-DIGEST_BYTES]).digest() != content[-DIGEST_BYTES:]:
        raise ValueError("cut short or altered")
