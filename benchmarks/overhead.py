"""CPU time of a request beside the model: the service, bare FastAPI, LitServe and BentoML, all with a constant label.

    python benchmarks/overhead.py [--litserve PYTHON] [--bentoml PYTHON] [--requests N]

32 clients send a 224 x 224 JPEG of about 20 KB. CPU time of the server's processes, all of them, for each answer; the
first requests warm up and are left out. Rounds of the servers alternate; the ratio of each round's figures counts.
"""

import argparse
import asyncio
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import closed_load, cpu_s, median, request_bytes, write_result
from tests.live_server import live_server, wait_for

PEERS = Path(__file__).parent / "peers"
CLIENTS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litserve", help="a Python that has litserve")
    parser.add_argument("--bentoml", help="a Python that has bentoml")
    parser.add_argument("--requests", type=int, default=1500, help="requests a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name, figures in _round(options).items():
            rounds.setdefault(name, []).append(figures)
    result = {
        name: {
            "cpu_ms_per_request": median([figures["cpu_ms"] for figures in all_figures]),
            "requests_per_s": median([figures["per_s"] for figures in all_figures]),
            "service_cpu_ratio": median(
                [a["cpu_ms"] / b["cpu_ms"] for a, b in zip(rounds["service"], all_figures, strict=True)]
            ),
        }
        for name, all_figures in rounds.items()
    }
    config = {"requests": options.requests, "rounds": options.rounds, "clients": CLIENTS, "jpeg_bytes": len(picture())}
    write_result("overhead", {"servers": result}, config, ["fastapi", "uvicorn", "uvloop", "httptools", "pillow"])


def picture() -> bytes:
    """A JPEG like a photo: smooth shapes and some grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), np.uint8)).resize((224, 224), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 9, (224, 224, 3))
    stream = io.BytesIO()
    Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(stream, "jpeg", quality=85)
    return stream.getvalue()


def _round(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    raw = request_bytes("/predict", "image/jpeg", picture())
    figures = {}
    with _service() as (pid, port):
        figures["service"] = _measure(pid, port, raw, options.requests)
    with _command([sys.executable, str(PEERS / "bare_fastapi.py"), "{port}"], raw) as (pid, port):
        figures["bare_fastapi"] = _measure(pid, port, raw, options.requests)
    if options.litserve:
        with _command([options.litserve, str(PEERS / "lit.py"), "{port}"], _form("request")) as (pid, port):
            figures["litserve"] = _measure(pid, port, _form("request"), options.requests // 3)
    if options.bentoml:
        with _command(
            [options.bentoml, "-m", "bentoml", "serve", "bento:Constant", "--port", "{port}"], _form("image")
        ) as (
            pid,
            port,
        ):
            figures["bentoml"] = _measure(pid, port, _form("image"), options.requests // 3)
    return figures


def _measure(pid: int, port: int, request: bytes, count: int) -> dict[str, float]:
    asyncio.run(closed_load(port, request, CLIENTS, lambda answers, _: answers >= 200))
    before = cpu_s(pid)
    load = asyncio.run(closed_load(port, request, CLIENTS, lambda answers, _: answers >= count))
    assert set(load.statuses) == {200}, load.statuses
    return {"cpu_ms": 1000 * (cpu_s(pid) - before) / load.statuses[200], "per_s": load.per_s}


def _form(field: str) -> bytes:
    head = (
        f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return request_bytes("/predict", "multipart/form-data; boundary=b", head.encode() + picture() + b"\r\n--b--\r\n")


@contextlib.contextmanager
def _service() -> Iterator[tuple[int, int]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bundle.json").write_text("{}")
        with live_server(Path(folder), Path(folder), "benchmarks.constant_runtime:open_runtime") as server:
            yield server.process.pid, server.port


@contextlib.contextmanager
def _command(command: list[str], probe: bytes) -> Iterator[tuple[int, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(port=port) for word in command]
    with tempfile.TemporaryFile() as log:
        alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=PEERS, env=alone, start_new_session=True)
        try:
            wait_for(lambda: _answers(port, probe) or process.poll() is not None, 120)
            assert process.poll() is None, f"{words} ended by itself"
            yield process.pid, port
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its children, which some servers leave behind
            process.wait(timeout=30)


def _answers(port: int, probe: bytes) -> bool:
    try:
        return (
            200
            in asyncio.run(closed_load(port, probe, 1, lambda answers, seconds: answers > 0 or seconds > 1)).statuses
        )
    except OSError:
        time.sleep(0.2)
        return False


if __name__ == "__main__":
    main()
