"""The check that malformed input is refused, that the endpoint lives through it, and answers the next good request."""

import contextlib
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import httpx
import numpy as np

from attack.check.findings import Unfit, joined
from attack.check.samples import image_file, numpy_file
from attack.check.subject import NOTICE_S, Subject
from attack.wire.messages import NPY, npy_body

BOMB_SIDE: Final = 30_000
"""A picture of 30,000 x 30,000 pixels, 2.7 GB as RGB, in a file of 110 kB."""
SOCKET_S: Final = 5.0


def malformed_input(subject: Subject) -> tuple[str, dict[str, float]]:
    """Each malformed request gets a 4xx, or 503 while busy; raw nonsense at most a closed connection."""
    picture = subject.samples.pixels[0]
    before = subject.client.predict(picture)
    faults = []
    requests, connections = _requests(subject), _connections(subject)
    for name, ask in requests:
        if fault := _request_fault(subject, name, ask):
            faults.append(fault)
    for name, head in connections:
        _throw(subject, head)
        _must_live(subject, name)
    try:
        after = subject.client.predict(picture)
    except Exception as error:
        raise Unfit(f"after malformed input a good request fails: {error}") from error
    if after != before and subject.steady:
        faults.append(f"a good photo was {before} before and is {after} after")
    if faults:
        raise Unfit(joined(faults))
    return f"{len(requests)} malformed requests and {len(connections)} broken connections survived", {}


def _request_fault(subject: Subject, name: str, ask: Callable[[], httpx.Response]) -> str | None:
    try:
        status = ask().status_code
    except httpx.HTTPError as error:
        _must_live(subject, name)
        # A server may refuse a body by closing while it is still sent; whether it lives has just been asked.
        return None if isinstance(error, httpx.WriteError) else f"{name}: no answer ({type(error).__name__})"
    if 400 <= status < 500 or status == httpx.codes.SERVICE_UNAVAILABLE:
        return None
    return f"{name}: status {status}, expected a 4xx"


def _must_live(subject: Subject, name: str) -> None:
    """Raise Unfit when the container has ended or the endpoint no longer answers."""
    with contextlib.suppress(httpx.HTTPError):
        if subject.http.get("/livez").status_code == httpx.codes.OK:
            return
    if ended := subject.ended(NOTICE_S):
        raise Unfit(f"{name} ended the container ({ended})")
    raise Unfit(f"{name}: the endpoint answers no more")


def _requests(subject: Subject) -> list[tuple[str, Callable[[], httpx.Response]]]:
    """Requests that httpx can send, by name."""
    picture = subject.samples.pixels[0]
    file, side = image_file(picture, "PNG"), subject.info.input_size
    bodies = {
        "an empty body": (b"", "image/png"),
        "a truncated PNG": (file[: len(file) // 2], "image/png"),
        "a decompression bomb": (_bomb(BOMB_SIDE), "image/png"),
        "a PNG with a broken header": (file[:12] + b"\0" * 12 + file[24:], "image/png"),
        "text as a JPEG": (b"GIF89a nothing of the kind" * 10, "image/jpeg"),
        "a pickle in an npy": (numpy_file(np.array([{"a": 1}], dtype=object)), NPY),
        "an npy that claims terabytes": (_npy_header((1_000_000, 1_000_000, 3)), NPY),
        "an npy of negative size": (_npy_header((-1, side, 3)), NPY),
        "an npy with code for a header": (_npy_raw("__import__('os').abort()"), NPY),
        "float64 pixels": (numpy_file(np.zeros((side, side, 3))), NPY),
        "four channels": (npy_body(np.zeros((side, side, 4), np.uint8)), NPY),
        "a truncated npy": (npy_body(picture)[:-100], NPY),
        "JSON": (b'{"image": null}', "application/json"),
        "multipart without a boundary": (b"--x\r\n\r\n--x--", "multipart/form-data"),
        "multipart cut short": (
            b'--x\r\nContent-Disposition: form-data; name="image"',
            "multipart/form-data; boundary=x",
        ),
    }
    asked: list[tuple[str, Callable[[], httpx.Response]]] = [
        (name, lambda body=body, kind=kind: subject.post("/predict", body, kind))  # type: ignore[misc]
        for name, (body, kind) in bodies.items()
    ]
    no_image = {"other": ("a.png", file, "image/png")}
    empty = numpy_file(np.zeros((0, side, side, 3), np.uint8))
    asked += [
        ("multipart without the field", lambda: subject.http.post("/predict", files=no_image)),
        ("a batch of none", lambda: subject.post("/predict/batch", empty, NPY)),
        ("a single picture as a batch", lambda: subject.post("/predict/batch", npy_body(picture), NPY)),
        ("an unknown path", lambda: subject.post("/predict/../../etc/passwd", b"", "image/png")),
    ]
    return asked


def _connections(subject: Subject) -> list[tuple[str, bytes]]:
    """Bytes that no HTTP client would send; the connection is closed after them. None where TLS would refuse them."""
    if subject.http.base_url.scheme != "http":
        return []
    host = subject.http.base_url.host.encode()
    post = b"POST /predict HTTP/1.1\r\nHost: " + host + b"\r\nContent-Type: image/png\r\n"
    return [
        ("bytes that are no HTTP", b"\x16\x03\x01\x02\x00" * 100),
        ("a half-sent head", post),
        ("a body cut off", post + b"Content-Length: 100000\r\n\r\n" + b"\x89PNG"),
        ("a body that claims terabytes", post + b"Content-Length: 9000000000000\r\n\r\nx"),
        ("a negative length", post + b"Content-Length: -1\r\n\r\nx"),
        ("two lengths", post + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        ("broken chunks", post + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nx"),
        ("a megabyte of header", post + b"X-Long: " + b"a" * 2**20 + b"\r\n\r\n"),
    ]


def _throw(subject: Subject, content: bytes) -> None:
    """Send the bytes, half-close, read what comes until it closes or the time is over, and close."""
    url = subject.http.base_url
    with contextlib.suppress(OSError), socket.create_connection((url.host, url.port or 80), SOCKET_S) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        ends_at = time.monotonic() + SOCKET_S
        while time.monotonic() < ends_at and connection.recv(65536):
            pass


def _npy_header(shape: tuple[int, ...]) -> bytes:
    return _npy_raw(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}")


def _npy_raw(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n"


def _bomb(side: int) -> bytes:
    """A valid PNG of side x side black pixels, one bit each."""
    squeeze = zlib.compressobj(9)
    line = bytes(1 + (side + 7) // 8)
    data = b"".join(map(squeeze.compress, (line * 1000 for _ in range(side // 1000)))) + squeeze.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunks((b"IHDR", head), (b"IDAT", data), (b"IEND", b"")))


def _chunks(*chunks: tuple[bytes, bytes]) -> Iterator[bytes]:
    for kind, data in chunks:
        yield struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
