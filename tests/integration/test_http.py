"""HTTP as others speak it: methods, chunks, expectations, pipelines, odd names, heads of every size."""

import contextlib
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.fake_runtime import square
from tests.live_server import LiveServer, live_server, npy
from tests.pictures import encoded

pytestmark = pytest.mark.integration
BODY = npy(square("bird", 224))
READ = ("/", "/docs", "/livez", "/readyz", "/info", "/metrics", "/openapi.json")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("http")
    (folder / "bundle.json").write_text("a" * 64)
    with live_server(folder, folder, "tests.fake_runtime:open_runtime", body_timeout_s=3, keep_alive_s=2) as live:
        yield live


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def post(*lines: str, body: bytes = BODY, close: bool = True) -> bytes:
    end = ["Connection: close"] if close else []
    return head("POST", "/predict", "Content-Type: application/x-npy", *lines, *end) + body


def exchange(server: LiveServer, *parts: bytes) -> bytes:
    """Send parts a moment apart, and read until the server closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    return received


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_a_body(server: LiveServer, path: str) -> None:
    answer, got = httpx.head(server.url + path), httpx.get(server.url + path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # whose length grows
        assert answer.headers["content-length"] == got.headers["content-length"]


def test_options_tell_the_methods(server: LiveServer) -> None:
    for path in READ:
        assert httpx.options(server.url + path).headers["allow"] == "GET, HEAD, OPTIONS"
    answer = httpx.options(f"{server.url}/predict")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "POST, OPTIONS", b"")
    assert httpx.options(f"{server.url}/nothing").status_code == 404
    for method in ("TRACE", "PUT", "DELETE", "PATCH", "QUERY"):
        for path in ("/predict", "/info"):
            answer = httpx.request(method, server.url + path)
            assert (answer.status_code, "OPTIONS" in answer.headers["allow"]) == (405, True)


def test_chunks_without_a_length(server: LiveServer) -> None:
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:9000], BODY[9000:])]
    answer = exchange(server, post("Transfer-Encoding: chunked", body=b""), *chunks, b"0\r\n\r\n")
    assert answer.endswith(b'{"label": "bird"}')
    broken = exchange(server, post("Transfer-Encoding: chunked", body=b"5\r\nabc"), b"zz\r\n\r\n!")
    assert status(broken) == 400


def test_expect_100_continue(server: LiveServer) -> None:
    lines = (f"Content-Length: {len(BODY)}", "Expect: 100-continue")
    answer = exchange(server, post(*lines, body=b""), BODY)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    too_large = exchange(server, post("Content-Length: 99999999999", "Expect: 100-continue", body=b""))
    assert status(too_large) == 413
    unknown = exchange(server, head("POST", "/predict", "Content-Type: a/b", "Content-Length: 9", lines[1]))
    assert status(unknown) == 415


@pytest.mark.parametrize("count", [3, 40])
def test_a_pipeline_is_answered_in_order(server: LiveServer, count: int) -> None:
    bodies = [npy(square(label, 64 + 4 * number)) for number, label in enumerate(["bird", "bicycle", "abstain"])]
    requests = [post(f"Content-Length: {len(body)}", body=body, close=False) for body in bodies]
    sent = b"".join(requests[number % 3] for number in range(count))
    answer = exchange(server, sent + head("GET", "/livez", "Connection: close"))
    labels = [part.split(b'"')[0] for part in answer.split(b'"label": "')[1:]]
    assert labels == [[b"bird", b"bicycle", b"abstain"][number % 3] for number in range(count)]


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="image"; filename="vögel 🐦.png"',
        "form-data; name=image; filename*=UTF-8''%e2%82%ac.png",
        'form-data; name="image"; filename="..\\\\..\\\\a;b\\"c.png"',
        'FORM-DATA; filename=""; name="image"',
    ],
)
def test_names_of_files_do_not_matter(server: LiveServer, disposition: str) -> None:
    form = f"--b\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + encoded(square("bird")) + b"\r\n--b--\r\n"
    answer = httpx.post(
        f"{server.url}/predict", content=form, headers={"content-type": 'Multipart/Form-Data; boundary="b"'}
    )
    assert answer.json() == {"label": "bird"}


def test_a_body_is_not_unpacked(server: LiveServer) -> None:
    answer = exchange(server, post(f"Content-Length: {len(BODY)}", "Content-Encoding: gzip"))
    assert status(answer) == 415


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -5",),
        ("Content-Length: 99999999999999999999999999",),
        ("Content-Length: +5",),
        ("Transfer-Encoding: gzip",),
        ("Bad Name: x",),
    ],
)
def test_lengths_that_smuggle_are_refused(server: LiveServer, lines: tuple[str, ...]) -> None:
    answer = exchange(server, post(*lines, body=b"0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"urn:trades-bob:malformed" in answer


@pytest.mark.parametrize(("size", "expected"), [(30_000, 200), (33_000, 431), (60_000, 431), (400_000, 431)])
def test_heads_are_bounded_whole_or_in_parts(server: LiveServer, size: int, expected: int) -> None:
    sent = head("GET", "/livez", "X-Long: " + "a" * size, "Connection: close")
    assert status(exchange(server, sent)) == expected
    assert status(exchange(server, sent[:20_000], sent[20_000:])) == expected


def test_short_lines_of_a_head_are_bounded_too(server: LiveServer) -> None:
    for count, expected in ((150, 200), (300, 431), (60_000, 431)):
        assert status(exchange(server, head("GET", "/livez", *["a:b"] * count, "Connection: close"))) == expected


def test_a_trailer_is_no_head(server: LiveServer) -> None:
    small = npy(square("bird"))  # which comes with its trailer in one read
    chunked = post("Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n0\r\n" % (len(small), small))
    answer = exchange(server, chunked + b"X-Request-ID: trailer\r\nX-More: 1\r\n\r\n")
    assert status(answer) == 200
    assert b"x-request-id: trailer" not in answer
    for endless in (
        b"a:b\r\n" * 60_000,
        b"x: " + b"a" * 400_000,
        b"x: " + b"a" * 20_000 + b"\r\ny: " + b"a" * 20_000 + b"\r\nz",
    ):
        assert status(exchange(server, chunked + endless)) == 431


def test_a_long_body_before_a_head_is_no_long_head(server: LiveServer) -> None:
    one = post(f"Content-Length: {len(BODY)}", close=False)
    answer = exchange(server, one + one[:40], one[40:] + head("GET", "/livez", "Connection: close"))
    assert answer.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize(
    "lines", [("Connection: Upgrade", "Upgrade: h2c"), ("Connection: Upgrade", "Upgrade: websocket")]
)
def test_there_is_nothing_to_upgrade_to(server: LiveServer, lines: tuple[str, ...]) -> None:
    ignored = exchange(server, head("GET", "/livez", *lines))
    assert status(ignored) == 200
    assert b"connection: close" in ignored, "what follows would be of another protocol"
    answer = exchange(server, post(f"Content-Length: {len(BODY)}", *lines, close=False))
    assert status(answer) == 400
    assert b"without Upgrade" in answer


def test_old_and_odd_requests(server: LiveServer) -> None:
    assert status(exchange(server, b"GET /livez HTTP/1.0\r\n\r\n")) == 200
    assert status(exchange(server, b"GET http://x/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 200
    assert status(exchange(server, head("GET", "/%6civez?%ff%00", "Connection: close"))) == 200
    assert status(exchange(server, head("GET", "/%ff/..;/../etc/passwd", "Connection: close"))) == 404
    assert status(exchange(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) == 400
    assert status(exchange(server, b"GET / HTTP/9.9\r\n\r\n")) == 400
