"""The folder of an evaluation is of one run at a time: two would mix their reports and pictures."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from model.errors import ConfigError
from model.files import TEMPORARY

HALF_WRITTEN: Final = (".report.json", ".index.html", "at_the_limit/.*.png")
"""What a run leaves that is killed while it writes a file whole."""


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Make `out` where it is missing, and keep other evaluations away until the end, however that comes.

    Raises ConfigError where another one is there. Nothing is left behind: what is locked is the folder itself.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{out}: another evaluation is writing there; give another --out") from error
        except OSError:  # a file system without locks keeps nobody out
            pass
        for pattern in HALF_WRITTEN:
            for file in out.glob(pattern + TEMPORARY):
                file.unlink(missing_ok=True)
        yield
    finally:
        os.close(folder)
