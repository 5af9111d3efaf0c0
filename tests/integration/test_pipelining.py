"""Requests that are sent before the answers to earlier ones have come: answered in order, a refusal last of all."""

import re
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from server.pipelined import MAX_WAITING
from tests.fake_runtime import square
from tests.live_server import LiveServer, live_server, npy, wait_for, wait_until_read

pytestmark = pytest.mark.integration
BODY = npy(square("bird"))
SLOW = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = SLOW[:-100]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("pipelining")
    (folder / "bundle.json").write_text("a" * 64)
    settings = {"header_timeout_s": 2, "body_timeout_s": 3, "max_body_bytes": 200_000, "FAKE_DELAY_S": 1.5}
    with live_server(folder, folder, "tests.fake_runtime:open_runtime", **settings) as live:
        yield live


def answers(server: LiveServer, sent: bytes, half_closed: bool = False) -> tuple[list[int], bytes]:
    """The statuses of all answers until the server closes, and everything it sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(sent)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)
        received = connection.makefile("rb").read()
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)], received


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n" + GET, 431),
        (b"GET /livez HTT", 408),
        (HALF, 408),
    ],
    ids=["nonsense", "long head", "slow head", "slow body"],
)
@pytest.mark.parametrize("before", [[SLOW], [SLOW, GET]], ids=["one before", "two before"])
def test_a_refusal_comes_after_the_answers_before_it(
    server: LiveServer, before: list[bytes], last: bytes, status: int
) -> None:
    found, received = answers(server, b"".join(before) + last)
    assert found == [*[200] * len(before), status]
    assert b'{"label": "bird"}' in received


def test_more_requests_than_may_wait_are_refused_after_the_answers_to_those(server: LiveServer) -> None:
    found, received = answers(server, SLOW + GET * 20_000)
    assert found == [*[200] * (1 + MAX_WAITING), 503]
    assert b"wait on this connection" in received


def test_a_request_that_is_cut_short_is_refused_after_the_answers_before_it(server: LiveServer) -> None:
    for short in (HALF, b"GET /livez HTT"):
        found, received = answers(server, SLOW + short, half_closed=True)
        assert found == [200, 400]
        assert b"cut short" in received


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n", 400),
        (
            b"POST /predict HTTP/1.1\r\nConnection: close\r\n"
            b"Content-Type: image/bmp\r\nContent-Length: 8000000\r\n\r\n",
            413,
        ),
    ],
    ids=["nonsense", "bad chunk", "too large"],
)
def test_who_is_refused_while_sending_still_reads_why(server: LiveServer, refused: bytes, status: int) -> None:
    found, _ = answers(server, refused + bytes(8_000_000))
    assert found == [status]


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_work_of_a_client_that_vanished_is_dropped_though_it_asked_for_more(server: LiveServer, later: bool) -> None:
    body = npy(np.stack([square("bird")] * 40))
    head = b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\nContent-Length: %d\r\n\r\n"
    before = server.metric("disconnects_total")
    with server.worker_stopped():
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head % len(body) + body + GET * (not later))
            wait_for(lambda: server.metric("images_in_house") == 40)
            connection.sendall(GET * later)
            wait_until_read(connection)
        wait_for(lambda: server.metric("disconnects_total") == before + 1)
    wait_for(lambda: server.metric("images_in_house") == 0)
