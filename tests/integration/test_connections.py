"""Connections that clients neither use nor close: each comes to an end, and the place is free again."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import LiveServer, live_server, wait_for

pytestmark = pytest.mark.integration
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_ANSWER = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("connections")
    (folder / "bundle.json").write_text("a" * 64)
    timeouts = {"header_timeout_s": 1, "body_timeout_s": 1, "keep_alive_s": 60}
    with live_server(folder, folder, "tests.fake_runtime:open_runtime", **timeouts) as live:
        yield live


@contextlib.contextmanager
def connected(server: LiveServer, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.settimeout(5)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.connect(("127.0.0.1", server.port))
        yield connection


def answered(connection: socket.socket) -> bool:
    """Whether a GET is answered on this connection."""
    connection.sendall(GET)
    return connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def held(connection: socket.socket) -> bool:
    """Whether a process still has the other end; the system may go on sending after it has let it go."""
    ports = tuple(f":{address[1]:04X}" for address in (connection.getpeername(), connection.getsockname()))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any((row[1][-5:], row[2][-5:]) == ports and row[9] != "0" for row in rows)


def test_empty_lines_between_requests_do_not_hold_a_connection(server: LiveServer) -> None:
    with connected(server) as connection:
        assert answered(connection)
        connection.sendall(b"\r\n")
        assert answered(connection)
        for _ in range(2):  # neither the first nor any further one wins time
            connection.sendall(b"\r\n")
            time.sleep(0.7)
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert connection.recv(65536) == b""


def test_an_empty_line_behind_a_request_does_not_cut_it_short(server: LiveServer) -> None:
    with connected(server) as connection:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(1.5)  # idle for longer than a head may take
        assert answered(connection)


def test_a_client_that_never_reads_is_cut_off(server: LiveServer) -> None:
    with connected(server, receive_bytes=4096) as connection:
        connection.sendall(LONG_ANSWER * 2000)
        time.sleep(0.5)
        assert held(connection)
        wait_for(lambda: not held(connection), 15)


def test_a_client_that_reads_late_gets_all_its_answers(server: LiveServer) -> None:
    with connected(server, receive_bytes=4096) as connection:
        connection.sendall(LONG_ANSWER * 199 + LONG_ANSWER.replace(b"Host", b"Connection: close\r\nHost"))
        received = bytearray()
        while chunk := connection.recv(65536):
            received += chunk
            time.sleep(0.0005)
        assert received.count(b"HTTP/1.1 200 ") == 200


FORM = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 900\r\n\r\n"
)


@pytest.mark.parametrize(("before", "slug"), [(b"GET /livez HTTP/1.1\r\nX-Long: ", b"slow-head"), (FORM, b"slow-body")])
def test_a_head_and_a_form_that_drip_are_not_waited_for(server: LiveServer, before: bytes, slug: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(before)
        connection.settimeout(0.2)
        for _ in range(20):  # a byte in time wins none
            connection.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
        else:
            pytest.fail("a client that drips holds its connection")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert slug in answer


def test_what_is_no_request_gets_an_id_too(server: LiveServer) -> None:
    ids = set()
    for _ in range(2):
        with connected(server) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        request_id = json.loads(body)["request_id"]
        assert b"\r\nx-request-id: " + request_id.encode() in head
        ids.add(request_id)
    assert len(ids) == 2
