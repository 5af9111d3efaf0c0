"""Logs: the service answers whether or not anyone takes them."""

import errno
import io
import os

import pytest

from server.logs import Together

pytestmark = pytest.mark.unit


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_lines_that_a_full_disk_does_not_take_are_lost_alone() -> None:
    """SIGTERM would end the service with 1, and a disk that is full at the start would keep it from starting."""
    log = Together(Full())
    log.write("a line\n")
    log.flush()
    log.drain()
