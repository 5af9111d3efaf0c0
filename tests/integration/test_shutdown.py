"""SIGTERM ends the service soon, whatever clients do, and cuts off no request that is whole."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_runtime import square
from tests.live_server import ROOT, LiveServer, live_server, npy, wait_for, wait_until_read

pytestmark = pytest.mark.integration
FACTORY = "tests.fake_runtime:open_runtime"
SOON_S = 15
"""Long for a busy machine, and less than the 25 s for which requests in hand are waited for."""
BODY = npy(square("bird"))
EARLY = """
import os, signal, sys
import server.run as run, trades_bob, uvicorn

def early(real):
    def call(*given, **named):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*given, **named)
    return call

{place} = early({place})
run.run.__defaults__ = ("tests.fake_runtime:open_runtime",)
sys.argv[1:] = ["serve", "--port", "0"]
trades_bob.main()
"""
HEAD = (
    f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode()


def connect(server: LiveServer) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    return connection


def stop(server: LiveServer) -> float:
    """Seconds from SIGTERM to the end, which must be a good one."""
    started = time.monotonic()
    assert server.stop() == 0
    return time.monotonic() - started


def everything(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def test_half_a_body(server: LiveServer) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + BODY[:100])
        wait_until_read(connection)
        assert stop(server) < SOON_S
        answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"shutting down" in answer


def test_a_whole_request_before_half_of_one(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, FAKE_DELAY_S=2.5) as server, connect(server) as connection:
        connection.sendall(HEAD + BODY + HEAD + BODY[:100])
        wait_until_read(connection)
        stop(server)
        answers = everything(connection)
        assert answers.startswith(b"HTTP/1.1 200 ")
        assert answers.count(b"HTTP/1.1 503 ") == 1


def test_a_body_that_is_just_coming(server: LiveServer) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + BODY[:100])
        wait_until_read(connection)
        server.process.terminate()
        wait_for(lambda: "Shutting down" in server.log)
        connection.sendall(BODY[100:])
        assert everything(connection).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(timeout=SOON_S) == 0


def test_a_client_that_does_not_read(server: LiveServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        time.sleep(1)
        assert stop(server) < SOON_S


def test_what_is_not_done_in_time_is_refused(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, drain_timeout_s=1, FAKE_DELAY_S=60) as server:
        with connect(server) as connection:
            connection.sendall(HEAD + BODY)
            wait_until_read(connection)
            assert stop(server) < SOON_S
            answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"shutting down" in answer
        assert "Traceback" not in server.log
        assert '"exception"' not in server.log


def test_a_model_that_is_loading(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, ready=False, FAKE_OPEN_S=600) as server:
        wait_for(lambda: '"worker started"' in server.log)
        worker = Path(f"/proc/{server.worker_pid()}")
        assert stop(server) < SOON_S
        wait_for(lambda: not worker.exists())


def test_a_model_that_is_loaded_anew(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY) as server:
        (bundle / "bundle.json").unlink()
        os.mkfifo(bundle / "bundle.json")  # which the new worker opens for ever
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.log.count('"worker started"') == 2)
        worker = Path(f"/proc/{server.worker_pid()}")
        assert stop(server) < SOON_S
        wait_for(lambda: not worker.exists(), 10)


@pytest.mark.parametrize("place", ["run._bundle", "run.create_app", "uvicorn.Server.run"])
def test_while_it_starts(bundle: Path, place: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY.format(place=place)],
        env={**os.environ, "TRADES_BOB_BUNDLE": str(bundle), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        timeout=SOON_S,
        check=False,
    )
    assert done.returncode == 0
