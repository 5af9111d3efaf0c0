"""What a run on a GPU machine knows: where its files lie, how large it is, what is done. Standard library alone."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model.files import replace_file

CHECKPOINT: Final = "checkpoint.compact"
BUNDLE: Final = "bundle.tar"
PHOTOS: Final = "photos.npz"
RELEASE: Final = "release"
RESULTS: Final = "results.tar.gz"
SIDE: Final = 148
"""Pixels of the packed squares."""
QUALITY: Final = 68
"""Of their WebP."""
TRAIN_MINUTES: Final = 6.7
"""What the call of one loan has for training, beside what stands before and after it."""
WIDTH: Final = 240
"""Characters of a line of the table, at most."""


@dataclass(frozen=True)
class Plan:
    """One run; it may take several calls of the command, and several machines."""

    carried: Path
    """What was brought: wheels/, release/, photos.npz, commit, and what an earlier run brought home."""
    state: Path
    """Everything the run makes; lasts as long as the machine."""
    out: Path
    """What is to be brought home."""
    device: str = "cuda"
    rehearse: bool = False
    """Tiny sizes."""
    train_minutes: float = TRAIN_MINUTES
    """Of training in all, over all calls."""
    step_seconds: float = 0.0
    """Of a step of TRADES, where an earlier run on such a machine told; 0: it is measured first."""

    @property
    def photos(self) -> Path:
        """The unpacked photos."""
        return self.state / "photos"

    @property
    def site(self) -> Path:
        """The installed wheels."""
        return self.state / "site"

    @property
    def results(self) -> Path:
        """JSON files."""
        return self.state / "results"

    @property
    def start(self) -> Path:
        """The released weights, which a run goes on from; kept here, since they travel in a call of their own."""
        return self.state / "start"

    @property
    def run(self) -> Path:
        """The training run."""
        return self.state / "train"

    @property
    def bundle(self) -> Path:
        """The best weights of the run in half precision."""
        return self.state / "bundle"

    @property
    def commit(self) -> str:
        """Of the repository that travelled."""
        file = self.carried / "commit"
        return file.read_text().strip() if file.exists() else ""

    def save(self) -> None:
        """For the steps, which are processes of their own."""
        self.state.mkdir(parents=True, exist_ok=True)
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        replace_file(self.state / "plan.json", json.dumps(plain).encode())


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to make and fill, which is `folder` once it is full: the next call would take half of one for it."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    partial.replace(folder)


def read_plan(state: Path) -> Plan:
    """As it was saved."""
    plain: dict[str, Any] = json.loads((state / "plan.json").read_text())
    for name in ("carried", "state", "out"):
        plain[name] = Path(plain[name])
    return Plan(**plain)


class Book:
    """Which steps are done, on disk after each: `{"tests": {"status": "done", "seconds": 12.3, "figures": "..."}}`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}

    def done(self, name: str) -> bool:
        """Whether there is nothing left to do for it; a failed step is not tried again by itself."""
        return self.entries.get(name, {}).get("status") in ("done", "failed", "cut off")

    def reopen(self, names: list[str]) -> None:
        """Those that failed or were cut off wait again."""
        for name in names:
            if self.entries.get(name, {}).get("status") in ("failed", "cut off"):
                del self.entries[name]

    def seconds(self, name: str) -> float:
        """That it has taken so far."""
        return float(self.entries.get(name, {}).get("seconds", 0.0))

    def note(self, name: str, status: str, seconds: float, figures: str) -> None:
        """Add the seconds of one call."""
        total = round(self.seconds(name) + seconds, 1)
        self.entries[name] = {"status": status, "seconds": total, "figures": figures}
        replace_file(self.file, json.dumps(self.entries, indent=2).encode())

    def table(self, names: list[str]) -> str:
        """One line a step."""
        rows = []
        for name in names:
            entry = self.entries.get(name, {"status": "waits", "seconds": 0.0, "figures": ""})
            row = f"{name:<10} {entry['status']:<8} {entry['seconds']:>7.1f} s  {entry['figures']}"
            rows.append(row[:WIDTH].rstrip())
        return "\n".join(rows)
