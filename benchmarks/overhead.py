"""CPU time of a request beside the model: the service, bare FastAPI, LitServe and BentoML, all with a constant label.

    python benchmarks/overhead.py [--litserve PYTHON] [--bentoml PYTHON] [--requests N] [--rounds N]

32 clients send a JPEG of 224 x 224 pixels and 15 KB, then, to other servers, one of 64 x 64, where there is less to
decode beside what serving costs. Each server decodes it to uint8 pixels, the service in its own way, the others with
Pillow. The service and bare FastAPI get the file as the body, LitServe and BentoML as a field of a form. Only the
service hashes the pixels, keeps a bounded queue and has its model in another process, as LitServe does. CPU time of all
processes of a server for each answer. All servers stay up and get their requests in turns; medians of the rounds'
figures and of their ratios count. At the end, how many pictures a second come through HTTP in uint8 batches of 64 when
the model takes no time, and what CPU time decoding alone takes in a process that does nothing else.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import closed_load, cpu_s, family, median, request_bytes, write_result
from model.pixels import load_square
from tests.live_server import live_server, npy, wait_for

PEERS = Path(__file__).parent / "peers"
CLIENTS = 32
SIDES = (224, 64)
WARM_UP = 300
BATCH, BATCH_ROUNDS = 64, 3
DECODINGS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litserve", help="a Python that has litserve")
    parser.add_argument("--bentoml", help="a Python that has bentoml")
    parser.add_argument("--requests", type=int, default=800, help="requests to a server in a round")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    result = {f"{side}x{side}": _compare(side, options) for side in SIDES}
    batches = [_batches_per_s(options.requests // 8) for _ in range(BATCH_ROUNDS)]
    config = {
        "requests": options.requests,
        "rounds": options.rounds,
        "clients": CLIENTS,
        "jpeg_bytes": [len(picture(side)) for side in SIDES],
    }
    decoding = {f"{side}x{side}": _decoding(side) for side in SIDES}
    figures = {
        "servers": result,
        "decoding_cpu_ms": decoding,
        "npy_batch_images_per_s": median([BATCH * rate for rate in batches]),
    }
    write_result("overhead", figures, config, ["fastapi", "uvicorn", "uvloop", "httptools", "pillow", "simplejpeg"])


def _compare(side: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    rounds: dict[str, list[dict[str, float]]] = {}
    with contextlib.ExitStack() as stack:
        servers = _start_all(stack, side, options)
        for server in servers.values():
            _measure(*server, WARM_UP)
        for _ in range(options.rounds):
            for name, server in servers.items():
                rounds.setdefault(name, []).append(_measure(*server, options.requests))
    return {
        name: {
            "cpu_ms_per_request": median([one["cpu_ms"] for one in found]),
            "requests_per_s": median([one["per_s"] for one in found]),
            "service_cpu_ratio": median(
                [ours["cpu_ms"] / theirs["cpu_ms"] for ours, theirs in zip(rounds["service"], found, strict=True)]
            ),
        }
        for name, found in rounds.items()
    }


def _batches_per_s(count: int) -> float:
    """uint8 batches a second that the service takes at 224 pixels from two clients when the model takes no time."""
    squares = np.random.default_rng(1).integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
    with _service(224, request_bytes("/predict/batch", "application/x-npy", npy(squares))) as (_, port, request):
        asyncio.run(closed_load(port, request, 2, lambda answers, _: answers >= 4))
        return asyncio.run(closed_load(port, request, 2, lambda answers, _: answers >= count)).per_s


def _decoding(side: int) -> dict[str, float]:
    """CPU ms of the benchmark's JPEG to pixels: the service's way, and Pillow's as the other servers go it."""
    file = picture(side)
    ways = {"service": lambda: load_square(file, side), "pillow": lambda: np.asarray(Image.open(io.BytesIO(file)))}
    assert np.array_equal(*(way() for way in ways.values()))
    return {name: median([_cpu_ms(way) for _ in range(DECODINGS)]) for name, way in ways.items()}


def _cpu_ms(call: Callable[[], object]) -> float:
    began = time.process_time_ns()
    call()
    return (time.process_time_ns() - began) / 1e6


def picture(side: int = 224) -> bytes:
    """A square JPEG like a photo: smooth shapes and some grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 9, (side, side, 3))
    stream = io.BytesIO()
    Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(stream, "jpeg", quality=85)
    return stream.getvalue()


Server = tuple[int, int, bytes]
"""Process id, port, request."""


def _start_all(stack: contextlib.ExitStack, side: int, options: argparse.Namespace) -> dict[str, Server]:
    raw = request_bytes("/predict", "image/jpeg", picture(side))
    bare = [sys.executable, str(PEERS / "bare_fastapi.py"), "{port}"]
    servers = {
        "service": stack.enter_context(_service(side, raw)),
        "bare_fastapi": stack.enter_context(_command(bare, raw)),
    }
    if options.litserve:
        command = [options.litserve, str(PEERS / "lit.py"), "{port}"]
        servers["litserve"] = stack.enter_context(_command(command, _form("request", side)))
    if options.bentoml:
        command = [options.bentoml, "-m", "bentoml", "serve", "bento:Constant", "--port", "{port}"]
        servers["bentoml"] = stack.enter_context(_command(command, _form("image", side)))
    return servers


def _measure(pid: int, port: int, request: bytes, count: int) -> dict[str, float]:
    before = cpu_s(pid)
    load = asyncio.run(closed_load(port, request, CLIENTS, lambda answers, _: answers >= count))
    assert set(load.statuses) == {200}, load.statuses
    return {"cpu_ms": 1000 * (cpu_s(pid) - before) / load.statuses[200], "per_s": load.per_s}


def _form(field: str, side: int) -> bytes:
    head = (
        f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    body = head.encode() + picture(side) + b"\r\n--b--\r\n"
    return request_bytes("/predict", "multipart/form-data; boundary=b", body)


@contextlib.contextmanager
def _service(side: int, request: bytes) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bundle.json").write_text("{}")
        factory = f"benchmarks.constant_runtime:open_{side}"
        with live_server(Path(folder), Path(folder), factory) as server:
            yield server.process.pid, server.port, request


@contextlib.contextmanager
def _command(command: list[str], request: bytes) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(port=port) for word in command]
    with tempfile.TemporaryFile() as log:
        alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=PEERS, env=alone)
        try:
            wait_for(lambda: _answers(port, request) or process.poll() is not None, 120)
            assert process.poll() is None, f"{words} ended by itself"
            yield process.pid, port, request
        finally:
            for member in family(process.pid):  # with its children, which some servers leave behind
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
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
