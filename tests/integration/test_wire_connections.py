"""Connections of the clients where they go wrong: answers that come early, slow links, forks, clients nobody closed."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import httpx
import numpy as np
import pytest

from attack.wire.client import Client
from attack.wire.retry import RetryPolicy
from model.errors import EndpointError, RefusedError

SIDE = 16
FAST = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.05)
NEVER_AGAIN = RetryPolicy(retry_errors=())
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Ten pictures, every other one bright."""
    return (np.zeros((10, SIDE, SIDE, 3)) + np.arange(10)[:, None, None, None] % 2 * 200).astype(np.uint8)


@contextmanager
def answering(answer: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """The URL of a server that calls `answer` with each connection and its body's length, the head read alone."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with closing(connection), suppress(OSError):
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += connection.recv(1)
                    answer(connection, int(httpx.Headers(_headers(head))["Content-Length"]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:-2]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


@pytest.mark.parametrize("after_s", [0.0, 0.1])
def test_an_answer_is_read_though_its_sender_reads_no_more_and_hangs_up(after_s):
    def refuse(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        time.sleep(after_s)

    with answering(refuse) as url, Client(url, retry=RetryPolicy(patience_s=5)) as client:
        with pytest.raises(RefusedError, match="status 413"):
            client.predict(np.zeros((2000, 2000, 3), np.uint8))
        assert client.pace.retries <= 1  # what comes and goes between two looks at the socket is lost even so


def test_a_large_body_may_take_longer_than_an_answer():
    def read_slowly(connection: socket.socket, left: int) -> None:
        while left:
            left -= len(connection.recv(min(left, 2**17), socket.MSG_WAITALL))
            time.sleep(0.01)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"label": "bird"}')

    with answering(read_slowly) as url, Client(url, timeout_s=0.5, retry=NEVER_AGAIN) as client:
        started = time.monotonic()
        assert client.predict(np.zeros((2000, 2000, 3), np.uint8)) == "bird"
        assert time.monotonic() - started > 0.5


def test_nobody_who_takes_the_connection_is_told_from_a_slow_answer(pixels, capfd):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(address)
        retry = RetryPolicy(longest_wait_s=0.05, patience_s=0.5)
        with (
            Client(f"http://127.0.0.1:{address[1]}", timeout_s=0.3, retry=retry) as client,
            pytest.raises(EndpointError, match="ConnectTimeout after"),
        ):
            client.predict(pixels[0])
        for one in waiting:
            one.close()
    assert "no connection, trying again" in capfd.readouterr().err


def test_a_trouble_without_words_is_named(pixels):
    def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("")

    with (
        Client("http://toy", retry=NEVER_AGAIN, transport=httpx.MockTransport(fail)) as client,
        pytest.raises(EndpointError, match="http://toy/predict: ReadError"),
    ):
        client.predict(pixels[0])
