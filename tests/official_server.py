"""The three sources of the official photos on one local HTTP server, with faults by choice, for tests."""

import io
import itertools
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from train.official import PER_CLASS
from train.official.settings import DownloadSettings

CLASSES = ("bicycle", "bird")
HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)
BOX_NAMES = {"bicycle": "/m/0199g", "bird": "/m/015p6", "tree": "/m/07j7r"}


def photo_id(number: int) -> str:
    return f"{number:016x}"


def photo(number: int, width: int = 40, height: int = 30) -> bytes:
    """A small JPEG unlike any other number's."""
    pixels = np.random.default_rng(number).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST).save(stream, "JPEG")
    return stream.getvalue()


def box(photo: str, name: str, width: float = 0.5, height: float = 0.5) -> str:
    return f"{photo},xclick,{BOX_NAMES[name]},1,0.25,{0.25 + width},0.25,{0.25 + height},0,0,0,0,0\n"


class OfficialServer(ThreadingHTTPServer):
    """`files` maps paths to bodies; `faults` maps a path to the faults of its next answers, one each.

    Faults: a status (404, 500, ...), `down` (503, for longer than anybody waits), `reset` and `cut` (after half of the
    body), `silent` (no answer), `drip`, `garbage` (200 with another body). `ranges` and `tags` are what a server may
    lack.
    """

    daemon_threads = True
    request_queue_size = 64
    ranges = tags = True
    delay_s = 0.0

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.in_flight = self.most_in_flight = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def settings(self, **changes) -> DownloadSettings:
        """Settings that point here, patient enough for a machine with much else to do."""
        given = {"timeout_s": 60, "photo_timeout_s": 60, "patience_s": 120, "workers": 8, **changes}
        urls = {"ids_url": f"{self.url}/ids", "boxes_url": f"{self.url}/boxes.csv", "images_url": f"{self.url}/train"}
        return DownloadSettings(**(urls | given))

    def fill(self, extras: int = 0) -> None:
        """The ids of test and train, their photos, and boxes of `extras` further ones of each class."""
        listed = PER_CLASS["test"] + PER_CLASS["train"]
        for label, name in enumerate(CLASSES):
            ids = [photo_id(label * 10**6 + number) for number in range(listed, 0, -1)]
            self.files[f"/ids/{name}_image_ids.csv"] = "".join(f"{line}\n" for line in ids).encode()
        numbers = itertools.chain.from_iterable(
            range(label * 10**6 + 1, label * 10**6 + listed + 1 + extras) for label in (0, 1)
        )
        for number in numbers:
            self.files[f"/train/{photo_id(number)}.jpg"] = photo(number)
        lines = [box(photo_id(number), "tree") for number in range(5)]
        for number in range(1, listed + 1 + extras):
            lines += [box(photo_id(label * 10**6 + number), name) for label, name in enumerate(CLASSES)]
        self.files["/boxes.csv"] = (HEADER + "".join(lines)).encode()

    def handle_error(self, request, client_address):
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: OfficialServer

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        with server.lock:
            server.requests.append(self.path)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            faults = server.faults.get(self.path, [])
            fault = faults.pop(0) if faults else ""
        server.ending.wait(server.delay_s)
        if fault != "silent":
            self._no_longer_in_flight()  # before the answer, upon which the client sends the next request
        self._answer(fault)
        if fault == "silent":
            self._no_longer_in_flight()

    def _no_longer_in_flight(self):
        with self.server.lock:
            self.server.in_flight -= 1

    def _answer(self, fault):
        body = self.server.files.get(self.path)
        if isinstance(fault, int) or body is None:
            self._whole(fault or 404, b"trouble")
        elif fault == "silent":
            self.close_connection = True
            self.server.ending.wait(2)
        elif fault == "down":
            self._whole(503, b"trouble", retry_after_s=3600)
        elif fault == "garbage":
            self._whole(200, b"<html>sign in</html>")
        elif fault == "drip":
            self._drip(body)
        elif fault in ("cut", "reset"):
            self._broken(body, fault)
        else:
            self._whole(200, body)

    def _head(self, status, body, retry_after_s=None):
        """The status line and headers; the part of the body that a Range asked for."""
        start = 0
        asked = self.headers.get("Range")
        if status == 200 and asked and self.server.ranges and self.headers["If-Range"] == self._tag(body):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.server.tags:
            self.send_header("ETag", self._tag(body))
        if retry_after_s is not None:
            self.send_header("Retry-After", str(retry_after_s))
        self.end_headers()
        return body[start:]

    @staticmethod
    def _tag(body):
        return f'"{hash(body):x}"'

    def _whole(self, status, body, **headers):
        self.wfile.write(self._head(status, body, **headers))

    def _broken(self, body, fault):
        """The head says all, half comes, then the end: in order (`cut`) or as a reset."""
        rest = self._head(200, body)
        self.wfile.write(rest[: len(rest) // 2])
        self.wfile.flush()
        self.close_connection = True
        if fault == "reset":
            time.sleep(0.05)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _drip(self, body):
        for byte in self._head(200, body):
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.ending.wait(0.1):
                break


@contextmanager
def serving():
    """A server in a thread of this process."""
    server = OfficialServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
