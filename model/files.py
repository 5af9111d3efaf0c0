"""Files that are written whole or not at all."""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from model.errors import ConfigError, UserError

MAX_NAME_BYTES: Final = 200
"""Of a file's name that is made of another: file systems take 255, and a temporary file's is longer."""
TEMPORARY: Final = "." + 8 * "[a-z0-9_]"
"""A pattern for what `replace_file` appends to a hidden file's name while it writes; a kill leaves such a file."""


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An OSError says which file it is about: that of a write to a full disk does not, others name a temporary."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def refuse_unwritable(file: Path | None) -> None:
    """Now, not after work of hours: raises ConfigError where `--json FILE` cannot be written. Leaves nothing behind."""
    if file is None:
        return
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = next(parent for parent in file.absolute().parents if parent.exists())
        with tempfile.NamedTemporaryFile(dir=there, prefix=f".{file.name}."):
            pass
    except OSError as error:
        raise ConfigError(f"--json {file}: {error.strerror}; name a file that can be written") from error


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
    with named(path):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def fitting(stem: str, suffix: str) -> str:
    """`stem + suffix` as a file's name; a stem that is too long for one is cut and ends in a hash of the whole."""
    whole = os.fsencode(stem)
    if len(whole) + len(suffix) <= MAX_NAME_BYTES:
        return stem + suffix
    digest = hashlib.sha256(whole).hexdigest()[:16]
    kept = whole[: MAX_NAME_BYTES - len(suffix) - len(digest) - 1].decode(errors="ignore")
    return f"{kept}-{digest}{suffix}"


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as indented JSON; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
