"""The journal of an attack: every answer on disk before it is acted on, so that a killed run can go on bit for bit.

A line is the CRC-32 of a JSON object in hex, a space, the object. The first says what run this is; then
`{"photo", "crc", "labels"}` for every answered chunk (labels as digits, index in LABELS) and `{"done": entry}` for
every photo that is finished. A last line that was cut short by a kill is cut off; anything else amiss is an error.
"""

import fcntl
import json
import zlib
from collections import defaultdict
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from model.console import say
from model.errors import ConfigError
from model.files import named
from model.labels import LABELS

FILE: Final = "journal.jsonl"
BEGINNING: Final = b' {"run":'
"""Of a journal, after the CRC-32."""


class Journal:
    """Append-only; one process at a time."""

    def __init__(self, folder: Path, run: dict[str, Any], resume: bool) -> None:
        """`run` is what determines the run. Raises ConfigError if the journal is damaged, of another run, or in use."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self.answers: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
        """By photo not yet finished: CRC-32 of the probes, and their labels, chunk by chunk."""
        self.done: dict[str, dict[str, Any]] = {}
        """By photo finished: its entry."""
        self._file = self._locked()
        try:
            if not resume:
                self._empty()
            if not self._load(run):
                if resume:
                    say(f"{self.path}: no journal to go on with; the attack begins anew")
                self._append({"run": run})
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def answered(self, photo: str, crc: int, labels: list[str]) -> None:
        """A chunk of probes was answered."""
        self._append({"photo": photo, "crc": crc, "labels": "".join(str(LABELS.index(label)) for label in labels)})

    def finished(self, entry: dict[str, Any]) -> None:
        """A photo came to its end, and its files are written."""
        self._append({"done": entry})

    def _locked(self) -> FileIO:
        file = self.path.open("a+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise ConfigError(f"{self.path}: another run is writing it; give another --out") from error
        except OSError:  # a file system without locks keeps nobody out
            pass
        return file  # unbuffered: a kill leaves no unwritten lines

    def _empty(self) -> None:
        if self.path.stat().st_size > 0:
            say(f"{self.path}: the journal of an earlier run is replaced; --resume would have gone on with it")
        with named(self.path):
            self._file.truncate(0)

    def _append(self, value: dict[str, Any]) -> None:
        text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        with named(self.path):
            while line:  # a nearly full disk takes a part, and refuses the rest
                line = line[self._file.write(line) :]

    def _load(self, run: dict[str, Any]) -> bool:
        """Read what stands, cut off a last line that was cut short; whether there was anything."""
        self._file.seek(0)
        good = 0
        for number, line in enumerate(self._file, start=1):
            value = _parsed(line)
            if value is None and _is_torn(line, first=number == 1):
                break
            if value is None:
                what = f"line {number} is damaged" if good else "line 1 is none of a journal"
                raise ConfigError(f"{self.path}: {what}; restore it, or leave out --resume to replace it")
            if good == 0 and value.get("run") != json.loads(json.dumps(run)):
                other = "with other settings, photos or weights, or against another endpoint"
                raise ConfigError(f"{self.path}: of a run {other}; leave out --resume")
            self._take(value)
            good += len(line)
        with named(self.path):
            self._file.truncate(good)
        return good > 0

    def _take(self, value: dict[str, Any]) -> None:
        if "done" in value:
            entry = value["done"]
            self.done[entry["image"]] = entry
            self.answers.pop(entry["image"], None)
        elif "photo" in value:
            self.answers[value["photo"]].append((value["crc"], [LABELS[int(digit)] for digit in value["labels"]]))


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The object of a whole line, else None."""
    crc, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(text):
        return None
    value: dict[str, Any] = json.loads(text)
    return value


def _is_torn(line: bytes, first: bool) -> bool:
    """Whether a line may be what a kill left of one of ours: without its end, and as the first with our start."""
    ours = set(line[:8]) <= set(b"0123456789abcdef") and BEGINNING.startswith(line[8 : 8 + len(BEGINNING)])
    return not line.endswith(b"\n") and (ours or not first)
