"""A label-only endpoint that speaks the contract, for tests and benchmarks: any rule, a delay, and faults by choice.

python tests/toy_endpoint.py --bundle DIR [--delay-ms MS] prints its port and serves until it is ended.
"""

import argparse
import contextlib
import io
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from model.errors import ImageError
from model.labels import CLASSES
from model.pixels import load_square, pixels_sha256

Rule = Callable[[np.ndarray], list[str] | int]
"""Labels, or the status of a refusal."""


class ToyEndpoint(ThreadingHTTPServer):
    """`rule` maps uint8 (N, S, S, 3) to labels. Shares of the requests fail as told; `pictures` counts the others."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, rule: Rule, side: int, *, max_batch=64, delay_s=0.0, busy=0.0, hang=0.0, reset=0.0, drip=0.0, port=0
    ):
        super().__init__(("127.0.0.1", port), _Handler)
        self.rule, self.side, self.max_batch, self.delay_s = rule, side, max_batch, delay_s
        self.busy, self.hang, self.reset, self.drip = busy, hang, reset, drip
        self.hang_s, self.retry_after_s = 1.5, 0.01
        self.chance, self.lock = random.Random(0), threading.Lock()
        self.pictures = self.requests = self.in_flight = self.most_in_flight = 0
        self.batches: list[int] = []
        self.hashes = True
        self.weights: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: ToyEndpoint

    def log_message(self, *args):
        pass

    def do_GET(self):
        info = {
            "classes": list(CLASSES),
            "input_size": self.server.side,
            "limits": {"max_batch": self.server.max_batch},
        }
        info |= {"weights_sha256": self.server.weights} if self.server.weights else {}
        self._answer(200, info if self.path == "/info" else {"status": "ok"})

    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.requests += 1
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            draw = server.chance.random()
        try:
            if draw < server.busy:
                self._answer(503, {"title": "full"}, {"Retry-After": str(server.retry_after_s)})
            elif draw < server.busy + server.hang:
                time.sleep(server.hang_s)
                self.close_connection = True
            elif draw < server.busy + server.hang + server.reset:
                self._reset()
            elif draw < server.busy + server.hang + server.reset + server.drip:
                self._drip()
            else:
                self._classify(body)
        finally:
            with server.lock:
                server.in_flight -= 1

    def _drip(self):
        """A header without end, a byte at a time, each in time."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.sendall(b"HTTP/1.1 200 OK\r\nSlow: ")
            for _ in range(150):
                time.sleep(0.02)
                self.connection.sendall(b"x")

    def _reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _classify(self, body):
        server = self.server
        if self.headers["Content-Type"] == "application/x-npy":
            pixels = np.load(io.BytesIO(body), allow_pickle=False)
        else:
            try:
                pixels = load_square(body, server.side)
            except ImageError as error:
                self._answer(400, {"title": str(error)})
                return
        pixels = pixels[None] if pixels.ndim == 3 else pixels
        labels = server.rule(pixels)
        if isinstance(labels, int):
            self._answer(labels, {"title": "refused"})
            return
        with server.lock:
            server.pictures += len(labels)
            server.batches.append(len(labels))
        time.sleep(server.delay_s)
        headers = {"Pixels-SHA256": ",".join(map(pixels_sha256, pixels))} if server.hashes else {}
        self._answer(200, {"labels": labels} if self.path.endswith("batch") else {"label": labels[0]}, headers)

    def _answer(self, status, value, headers=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


@contextlib.contextmanager
def serving(rule: Rule, side: int, **options):
    """A toy endpoint in a thread of this process."""
    server = ToyEndpoint(rule, side, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def brightness_rule(pixels: np.ndarray) -> list[str]:
    """Bright pictures are birds: a half-space."""
    return [CLASSES[int(picture.mean() > 127.5)] for picture in pixels]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    rule: Rule = brightness_rule
    side = given.side
    if given.bundle:
        from attack.local import LocalOracle

        oracle = LocalOracle(given.bundle, threads=1)
        rule, side = oracle.labels, oracle.input_size
    server = ToyEndpoint(rule, side, delay_s=given.delay_ms / 1000, port=given.port)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
