"""What a person sees on the terminal: a bar where there is one, plain lines elsewhere; all of it on stderr."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.text import printable

PLAIN_LINE_EVERY_S = 10.0
_SPEAKS = os.environ.get("RANK", "0") == "0"  # torchrun's


class Report(Protocol):
    """Called as work goes on: how much is done, and the figures worth a look (`loss=0.41`)."""

    def __call__(self, done: float, **figures: str) -> None:
        """Show `done` of the total, and the latest figures."""


def unseen(done: float, **figures: str) -> None:
    """A `Report` for work that shows nothing."""


def say(line: str) -> None:
    """One plain line to stderr; stdout is for results. Of the processes of one run only the first speaks."""
    if _SPEAKS:
        write_line(line)


def write_line(line: str) -> None:
    """To stderr in a single write: the lines of processes that share it never mix (`print` writes its end apart)."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


@contextmanager
def progress(title: str, total: float) -> Iterator[Report]:
    """Show long work: a bar with figures and the time left on a terminal, a line every 10 s otherwise."""
    if sys.stderr.isatty() and _SPEAKS:
        with _bar(title, total) as report:
            yield report
    else:
        yield _PlainLines(title, total)


@contextmanager
def _bar(title: str, total: float) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(printable(title), total=total, figures="")

        def report(done: float, **figures: str) -> None:
            bar.update(task, completed=done, figures=_joined(figures))

        yield report


class _PlainLines:
    def __init__(self, title: str, total: float) -> None:
        self.title, self.total = title, total
        self.started = time.monotonic()
        self.last = -PLAIN_LINE_EVERY_S

    def __call__(self, done: float, **figures: str) -> None:
        elapsed = time.monotonic() - self.started
        if elapsed - self.last < PLAIN_LINE_EVERY_S and done < self.total:
            return
        self.last = elapsed
        say(f"{self.title}: {done:g}/{self.total:g}, {elapsed:.0f} s {_joined(figures)}".rstrip())


def _joined(figures: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in figures.items())
