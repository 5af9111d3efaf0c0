"""Write synthetic pictures as an `ImageFolder`, with all cores; the folder appears whole or not at all."""

import multiprocessing
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from model.console import progress
from model.cpus import usable_cpus
from model.errors import DataError, TrainingError
from model.labels import CLASSES
from train.synthetic.scene import render

SIZES_PX: Final = (32, 1024)


def picture_seed(seed: int, label: int, index: int) -> int:
    """The seed of one picture of a set: every picture depends on its own number alone."""
    return int(np.random.SeedSequence([seed, label, index]).generate_state(1, np.uint64)[0])


def synthesize(out: Path, per_class: int, size: int = 224, seed: int = 0) -> None:
    """Write `per_class` pictures of `size` x `size` pixels of each class: `out/bicycle/00000.png`, `out/bird/...`.

    The pictures are drawn in `out.partial`, which takes the name `out` at the end; where there is an empty folder, its
    two folders are moved there. Raises DataError when `out` holds something already, and for a number out of range.
    """
    _check(out, per_class, size, seed)
    partial = partial_of(out)
    try:
        _clear(partial)
        for name in CLASSES:
            (partial / name).mkdir(parents=True)
        _draw_all(partial, per_class, size, seed)
        _move(partial, out)
    except BrokenProcessPool as error:
        raise TrainingError("a process that draws pictures died: is there enough memory?") from error
    except OSError as error:
        raise DataError(f"cannot write to {out}: {error.strerror or error}") from error


def partial_of(out: Path) -> Path:
    """Where the pictures of `out` are drawn; a process that is ended leaves it."""
    out = out.absolute()  # "." has no name of its own
    return out.with_name(out.name + ".partial")


def _move(partial: Path, out: Path) -> None:
    """An empty folder is filled, not replaced: who stands in it, as in `.`, would be left in one that is gone."""
    if not out.exists():
        partial.rename(out)
        return
    for name in CLASSES:
        (partial / name).rename(out / name)
    partial.rmdir()


def _check(out: Path, per_class: int, size: int, seed: int) -> None:
    low, high = SIZES_PX
    if per_class < 1:
        raise DataError(f"--per-class must be at least 1, not {per_class}")
    if not low <= size <= high:
        raise DataError(f"--size must be {low} to {high} pixels, not {size}")
    if seed < 0:
        raise DataError(f"--seed must be 0 or more, not {seed}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not empty; name a new folder for the pictures")


def _clear(partial: Path) -> None:
    """Remove what a killed run left; refuse a folder of that name that is something else."""
    if not partial.exists():
        return
    if not partial.is_dir() or {entry.name for entry in partial.iterdir()} - set(CLASSES):
        raise DataError(f"{partial} is in the way: the pictures are drawn there first; move it")
    shutil.rmtree(partial)


Job = tuple[Path, int, int, int, int]


def _draw_all(folder: Path, per_class: int, size: int, seed: int) -> None:
    jobs = [(folder, label, index, size, seed) for index in range(per_class) for label in range(len(CLASSES))]
    # spawn: fork is unsafe once torch's threads run. An executor, not a Pool: a Pool replaces dying workers for ever.
    context = multiprocessing.get_context("spawn")
    with (
        progress("drawing pictures", len(jobs)) as report,
        ProcessPoolExecutor(min(len(jobs), usable_cpus()), context, _leave_interrupts) as pool,
    ):
        for done, _ in enumerate(pool.map(_draw, jobs, chunksize=8), 1):
            report(done)


def _leave_interrupts() -> None:
    """Ctrl-C is answered by the parent alone, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw(job: Job) -> None:
    folder, label, index, size, seed = job
    picture = Image.fromarray(render(label, picture_seed(seed, label, index), size))
    picture.save(folder / CLASSES[label] / f"{index:05d}.png", compress_level=1)
