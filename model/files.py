"""Files that are written whole or not at all."""

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import UserError


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An OSError says which file it is about: that of a write to a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file. Raises OSError, and UserError for any other and for more than `max_bytes`.

    The error says of the file what is wrong with it ("is no regular file"), and leaves it to the caller to name it.
    """
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # of a folder the system has the say
        raise UserError("is no regular file")  # a device or a pipe, which has no size, would be read for ever
    if status.st_size > max_bytes:
        raise UserError(f"has {status.st_size} bytes; at most {max_bytes} are read")
    return path.read_bytes()


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never half of one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with named(path), os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as indented JSON; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
