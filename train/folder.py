"""The folder that a run writes: fit for it, and its alone."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from model.bundle import METADATA_FILE, WEIGHTS_FILE
from model.errors import DataError
from train.checkpoint import FILE as CHECKPOINT_FILE
from train.ranks import Ranks
from train.watch import CURVES_FILE, METRICS_FILE

LOCK_FILE: Final = ".lock"
WRITTEN: Final = (CHECKPOINT_FILE, METADATA_FILE, WEIGHTS_FILE, METRICS_FILE, CURVES_FILE)
"""The files that a run replaces whole."""


@contextmanager
def held_folder(out: Path, ranks: Ranks, *, resume: bool) -> Iterator[None]:
    """OUT, made where it is missing; until the block ends no other run writes there.

    The first process holds the lock. Raises DataError, one line, when another run does, or when OUT holds what this run
    would write over.
    """
    with ExitStack() as held:
        with ranks.one_after_the_first():
            if ranks.first:
                _make(out)
                held.enter_context(_locked(out))
                _clear(out, resume)
        yield


def _make(out: Path) -> None:
    try:
        if (out / METADATA_FILE).exists() and not (out / CHECKPOINT_FILE).exists():
            raise DataError(f"{out}: holds a bundle, and no checkpoint of the run that made it; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made a folder: {error.strerror}; choose another --out") from error


def _locked(out: Path) -> BinaryIO:
    """A file whose lock the system lets go of when it is closed or its process ends, however that is."""
    try:
        file = (out / LOCK_FILE).open("ab")
    except OSError as error:
        raise DataError(f"{out}: cannot be written to: {error.strerror}; choose another --out") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise DataError(f"{out}: another run is writing there; wait for its end, or choose another --out") from error
    except OSError:  # a file system without locks keeps nobody out
        return file
    return file


def _clear(out: Path, resume: bool) -> None:
    if not resume and (out / CHECKPOINT_FILE).exists():
        raise DataError(f"{out}: holds a run already; --resume goes on with it, or choose another --out")
    for name in WRITTEN:
        for left_over in out.glob(f".{name}.*"):  # of a process that was killed while it wrote
            left_over.unlink(missing_ok=True)
