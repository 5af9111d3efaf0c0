"""Starts a worker process and talks to it from the event loop, without a thread."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from server.pipe import Pipe
from server.worker import SECONDS, Memory, map_memory

HEARTBEAT_STALE_S: Final = 1.5
"""A worker without a sign of life for so long is not ready."""


@dataclass(frozen=True)
class Hello:
    """What a worker tells about its model when it is ready for work."""

    input_size: int
    bundle_digest: str
    classes: list[str]
    weights_sha256: str
    runtime: str
    device: str
    batch_sizes: list[int]


@dataclass(frozen=True)
class WorkerConfig:
    """How to start a worker. `factory` names a function `module:name` with the signature of `open_runtime`."""

    bundle: Path
    slots: int
    options: dict[str, Any]
    factory: str


class WorkerError(Exception):
    """A worker could not open its model; the message is for the operator, `exit_code` for the command."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def shared_file() -> int:
    """A descriptor of nameless memory that two processes can map."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("trades-bob-pixels")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class WorkerProcess:
    """One worker: `hello` once it is ready, `send` for a batch, and the callbacks for its answers and its end.

    With `expected_digest` it serves the bundle with this digest and refuses to open another.
    """

    def __init__(
        self,
        config: WorkerConfig,
        memory_fd: int,
        expected_digest: str | None,
        on_hello: Callable[["WorkerProcess"], None],
        on_labels: Callable[["WorkerProcess", float, bytes], None],
        on_death: Callable[["WorkerProcess", WorkerError | None], None],
    ) -> None:
        self.config, self.memory_fd = config, memory_fd
        self.on_hello, self.on_labels, self.on_death = on_hello, on_labels, on_death
        self.hello: Hello | None = None
        self.memory: Memory | None = None
        self.started = time.monotonic()
        self.loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.pipe = Pipe(ours)
        with theirs:
            self.process = self._spawn(theirs.fileno(), expected_digest)
        self.loop.add_reader(self.pipe.fileno(), self._readable)
        self.alive = True

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the last sign of life; since the start while there was none."""
        if self.memory is None:
            return time.monotonic() - self.started
        return time.monotonic() - float(self.memory.heartbeat[0])

    @property
    def ready(self) -> bool:
        """Whether the worker has warmed up and shows signs of life."""
        return self.alive and self.memory is not None and self.heartbeat_age_s < HEARTBEAT_STALE_S

    def send(self, slots: Sequence[int]) -> None:
        """Have the pictures in these slots classified. One batch at a time; the answer comes by `on_labels`."""
        with contextlib.suppress(OSError):  # a broken pipe is also an end of file, which `_readable` sees
            self.pipe.send(np.array(slots, np.uint32).tobytes())

    def kill(self) -> None:
        """End the worker at once, whatever it does."""
        with contextlib.suppress(OSError):
            self.process.kill()

    def close(self) -> None:
        """Hang up: the worker ends by itself. No callback follows."""
        self._hang_up()
        self.loop.run_in_executor(None, self._reap)

    def _spawn(self, connection_fd: int, expected_digest: str | None) -> subprocess.Popen[bytes]:
        config = {
            "connection_fd": connection_fd,
            "memory_fd": self.memory_fd,
            "bundle": str(self.config.bundle),
            "slots": self.config.slots,
            "factory": self.config.factory,
            "options": self.config.options,
            "expected_digest": expected_digest,
        }
        return subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            # -P: whatever lies in the current directory, a folder `model` too, must not come before our packages
            [sys.executable, "-P", "-m", "server.worker", json.dumps(config)],
            pass_fds=(connection_fd, self.memory_fd),
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},  # noqa: PTH109
        )

    def _readable(self) -> None:
        try:
            message = self.pipe.receive_some()
        except (EOFError, OSError):
            self._die(None)
            return
        if message is None:
            return
        if self.hello is not None:
            self.on_labels(self, SECONDS.unpack_from(message)[0], message[SECONDS.size :])
            return
        greeting = json.loads(message)
        if "error" in greeting:
            self._die(WorkerError(greeting["error"], greeting["exit_code"]))
            return
        self.hello = Hello(**greeting)
        self.memory = map_memory(self.memory_fd, self.config.slots, self.hello.input_size)
        self.on_hello(self)

    def _die(self, error: WorkerError | None) -> None:
        self.kill()
        self.close()
        self.on_death(self, error)

    def _hang_up(self) -> None:
        if self.alive:
            self.alive = False
            self.loop.remove_reader(self.pipe.fileno())
            self.pipe.close()

    def _reap(self) -> None:
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
