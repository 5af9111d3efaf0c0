"""Connections that clients neither use nor close: each comes to an end, and the place is free again."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import LiveServer, live_server, unread_bytes, wait_for

pytestmark = pytest.mark.integration
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_ANSWER = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("connections")
    (folder / "bundle.json").write_text("a" * 64)
    timeouts = {"header_timeout_s": 2, "body_timeout_s": 3, "keep_alive_s": 60}
    with live_server(folder, folder, "tests.fake_runtime:open_runtime", **timeouts) as live:
        yield live


@contextlib.contextmanager
def connected(server: LiveServer, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.settimeout(30)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.connect(("127.0.0.1", server.port))
        yield connection


def answered(connection: socket.socket) -> bool:
    """Whether a GET is answered on this connection."""
    connection.sendall(GET)
    return connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def answer_to_drops(connection: socket.socket, drop: bytes) -> bytes:
    """What comes while `drop` is sent again and again, which must win no time."""
    connection.settimeout(0.2)
    for _ in range(150):
        connection.sendall(drop)
        with contextlib.suppress(TimeoutError):
            answer = connection.recv(65536)
            connection.settimeout(30)
            return answer
    pytest.fail("a client that drips holds its connection")


def test_empty_lines_between_requests_do_not_hold_a_connection(server: LiveServer) -> None:
    with connected(server) as connection:
        assert answered(connection)
        connection.sendall(b"\r\n")
        assert answered(connection)
        assert answer_to_drops(connection, b"\r\n").startswith(b"HTTP/1.1 408 ")
        assert connection.recv(65536) == b""


def test_less_than_half_a_second_is_a_time_to_keep_a_connection(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("a" * 64)
    factory = "tests.fake_runtime:open_runtime"
    with live_server(tmp_path, tmp_path, factory, keep_alive_s=0.49) as server, connected(server) as connection:
        assert answered(connection)
        time.sleep(0.05)
        assert answered(connection)


def test_an_empty_line_behind_a_request_does_not_cut_it_short(server: LiveServer) -> None:
    with connected(server) as connection:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(2.5)  # idle for longer than a head may take
        assert answered(connection)


def test_a_client_that_never_reads_is_cut_off(server: LiveServer) -> None:
    with connected(server, receive_bytes=4096) as connection:
        connection.sendall(LONG_ANSWER * 2000)
        wait_for(lambda: unread_bytes(connection) is not None)
        wait_for(lambda: unread_bytes(connection) is None)


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
        answer = answer_to_drops(connection, b"a")
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
