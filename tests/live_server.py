"""Starts `trades-bob serve` as users do, in a process of its own, for tests and benchmarks."""

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
NPY = {"content-type": "application/x-npy"}
# On a machine that stalls a sound worker may be silent for longer than the service bears.
_RUN = (
    "import server.process; server.process.HEARTBEAT_STALE_S *= 3; from server.run import run;"
    " from server.settings import read_settings; run(read_settings(), {factory!r})"
)


@dataclass
class LiveServer:
    """A server that listens on a free port of 127.0.0.1."""

    process: subprocess.Popen[bytes]
    log_file: Path
    url: str

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def worker_pid(self) -> int:
        """The worker that was started last."""
        return int(re.findall(r'"pid": (\d+), "event": "worker started"', self.log)[-1])

    @contextlib.contextmanager
    def worker_stopped(self) -> Iterator[None]:
        """The worker takes no time, and answers nothing, until the end of the `with`."""
        worker = self.worker_pid()
        os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)

    def metric(self, name: str) -> float:
        """The value of `trades_bob_NAME`; 0 where there is none yet."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        found = re.search(rf"^trades_bob_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def wait_ready(self, timeout_s: float = 60) -> None:
        wait_for(lambda: self.is_ready() or self.process.poll() is not None, timeout_s)
        assert self.process.poll() is None, self.log

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@contextlib.contextmanager
def live_server(
    folder: Path, bundle: Path, factory: str | None = None, ready: bool = True, **settings: object
) -> Iterator[LiveServer]:
    """Serve `bundle`, with settings by their names in lower case; `folder` takes the log."""
    log_file = folder / f"server-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "trades_bob", "serve"]
    if factory is not None:
        command = [sys.executable, "-c", _RUN.format(factory=factory)]
    given = {"bundle": bundle, "port": 0, **settings}
    extra = {name if name.isupper() else f"TRADES_BOB_{name.upper()}": str(value) for name, value in given.items()}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **extra},
            cwd=ROOT,
        )
    try:
        wait_for(lambda: '"listening"' in log_file.read_text() or process.poll() is not None, 60)
        assert '"listening"' in log_file.read_text(), log_file.read_text()
        (url,) = re.findall(r'"url": "(http[^"]+)"', log_file.read_text())
        server = LiveServer(process, log_file, url)
        if ready:
            server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(condition: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def unread_bytes(connection: socket.socket) -> int | None:
    """What was sent and not read yet at the other end, on this machine; None where no process has that end."""
    here, there = (f":{address[1]:04X}" for address in (connection.getsockname(), connection.getpeername()))
    queues = {}
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, waiting, *_, inode = row.split()[:10]
        if inode != "0":
            queues[local[-5:], remote[-5:]] = [int(part, 16) for part in waiting.split(":")]
    if (there, here) not in queues:
        return None
    unsent, _ = queues.get((here, there), (0, 0))
    return unsent + queues[there, here][1]


def wait_until_read(connection: socket.socket) -> None:
    """Wait until the server has read all that was sent."""
    wait_for(lambda: unread_bytes(connection) == 0)


def npy(array: np.ndarray) -> bytes:
    """An array as the bytes of an npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
