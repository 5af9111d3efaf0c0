"""A small submission that speaks the whole contract by a rule of brightness, and misbehaves in one way if told to.

python tests/submission.py [--fault NAME] [--host H] [--port P] prints its URL and serves until SIGTERM.
"""

import argparse
import asyncio
import io
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from model.errors import ImageError
from model.labels import ABSTAIN, CLASSES
from model.pixels import load_square, pixels_sha256, to_square

SIDE = 32
MAX_BATCH = 64
MAX_BODY = 2 * 2**20
FAULTS = {
    "none": "nothing is wrong",
    "body": "the answer holds the brightness too",
    "header": "a header tells the brightness",
    "padding": "spaces in the body tell the brightness",
    "batch": "a header of a batch tells the brightness",
    "file": "the answer to a file holds the brightness too",
    "jpeg": "a header tells the brightness of a JPEG",
    "form": "a header tells the brightness of what comes in a form",
    "error": "an error tells the brightness",
    "metric": "a metric tells the last brightness",
    "counter": "a counter adds up all brightness",
    "random": "answers at random",
    "company": "a label depends on what else is in the batch",
    "abstain": "abstains too often",
    "wrong": "takes birds for bicycles",
    "slow": "some sixty images a second, at most",
    "bomb": "a decompression bomb ends it",
    "flaky": "every twentieth good request ends in a 500",
    "careless": "what is malformed ends in a 500",
    "memory": "a request to it takes all memory",
    "stubborn": "does not end at SIGTERM",
    "queue": "takes one request after another, a quarter of a second each",
    "online": "does not start without a way out to a network",
    "writes": "does not start where it cannot write to its root",
    "silent": "is never ready",
    "dead": "ends at once",
}


class State:
    fault = "none"
    brightness = 0.0
    total = 0.0
    answered = 0
    turn = asyncio.Lock()


def labels_of(pixels):
    means = pixels.reshape(len(pixels), -1).mean(axis=1)
    State.brightness = float(means[0])
    State.total += float(means.sum())
    if State.fault == "company":
        means = means - means.mean() + 127.5 if len(means) > 1 else means
    if State.fault == "random":
        return [random.choice(CLASSES) for _ in means]
    names = CLASSES[::-1] if State.fault == "wrong" else CLASSES
    band = 60 if State.fault == "abstain" else 2
    return [ABSTAIN if abs(mean - 127.5) < band else names[int(mean > 127.5)] for mean in means]


def problem(status, detail):
    body = {"type": "about:blank", "title": "refused", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


def square(data):
    if State.fault == "bomb" and data[:4] == b"\x89PNG" and int.from_bytes(data[16:20]) > 10_000:
        os._exit(3)
    return load_square(data, SIDE)


def array(data, ndim):
    try:
        value = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:
        told = f" {np.frombuffer(data[128:], np.uint8).mean()}" if State.fault == "error" else ""
        raise HTTPException(400, f"no npy{told}") from error
    if value.dtype != np.uint8 or value.ndim != ndim or value.shape[-1] != 3 or 0 in value.shape:
        raise HTTPException(422, "wrong shape or dtype")
    if ndim == 4 and len(value) > MAX_BATCH:
        raise HTTPException(413, "too many")
    return value


async def body_of(request):
    if int(request.headers.get("content-length", 0)) > MAX_BODY:
        raise HTTPException(413, "too large")
    return await request.body()


async def pictures(request, batch):
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind == "application/x-npy":
        value = array(await body_of(request), 4 if batch else 3)
        return np.stack([to_square(picture, SIDE) for picture in (value if batch else value[None])])
    if kind == "multipart/form-data":
        form = await request.form()
        files = form.getlist("images") if batch else form.getlist("image")
        if not files:
            raise HTTPException(422, "no such field")
        return np.stack([square(await file.read()) for file in files])
    if kind.startswith("image/") and not batch:
        return square(await body_of(request))[None]
    raise HTTPException(415, "unknown type")


async def predict(request):
    if State.fault == "memory":
        hog = [np.ones(2**27, np.uint8) for _ in range(64)]
        del hog
    batch = request.url.path.endswith("batch")
    try:
        pixels = await pictures(request, batch)
    except ImageError as error:
        raise HTTPException(400, "no image") from error
    labels = labels_of(pixels)
    if State.fault == "slow":
        await asyncio.sleep(0.03 * len(labels))
    if State.fault == "queue":
        async with State.turn:
            await asyncio.sleep(0.25)
    State.answered += 1
    if State.fault == "flaky" and State.answered % 20 == 0:
        return problem(500, "failed")
    headers = {"Pixels-SHA256": ",".join(map(pixels_sha256, pixels))}
    kind = request.headers.get("content-type", "")
    leaks = {"batch": batch, "header": True, "jpeg": "jpeg" in kind, "form": kind.startswith("multipart")}
    if leaks.get(State.fault):
        headers["X-Trace"] = f"{State.brightness:.3f}"
    answer = {"labels": labels} if batch else {"label": labels[0]}
    if State.fault == "body" or (State.fault == "file" and kind == "image/png"):
        answer["brightness"] = State.brightness
    response = JSONResponse(answer, headers=headers)
    if State.fault == "padding":
        response.body += b" " * int(State.brightness)
        response.headers["Content-Length"] = str(len(response.body))
    return response


async def info(request):
    return JSONResponse(
        {
            "classes": list(CLASSES),
            "input_size": SIDE,
            "resize_rule": "as model.pixels says",
            "weights_sha256": "0" * 64,
            "limits": {"max_batch": MAX_BATCH},
        }
    )


async def probe(request):
    silent = State.fault == "silent" and request.url.path == "/readyz"
    return PlainTextResponse("loading" if silent else "ok", 503 if silent else 200)


async def metrics(request):
    leak = {"metric": f"toy_last_brightness {State.brightness}\n", "counter": f"toy_sum {State.total}\n"}
    return PlainTextResponse(f"# TYPE toy_seconds counter\ntoy_seconds {time.time()}\n{leak.get(State.fault, '')}")


async def refused(request, error):
    return problem(500 if State.fault == "careless" else error.status_code, error.detail)


async def failed(request, error):
    return problem(500, "failed")


app = Starlette(
    routes=[
        Route("/predict", predict, methods=["POST"]),
        Route("/predict/batch", predict, methods=["POST"]),
        Route("/info", info),
        Route("/metrics", metrics),
        Route("/livez", probe),
        Route("/readyz", probe),
    ],
    exception_handlers={HTTPException: refused, Exception: failed},
)


def _find_a_way_out():
    """Nothing is sent: the kernel says whether there is a route."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=list(FAULTS), default=os.environ.get("FAULT", "none"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    State.fault = given.fault
    if State.fault == "dead":
        sys.exit("no weights here")
    needs = {"online": _find_a_way_out, "writes": lambda: Path("/report/state").write_text("")}
    try:
        needs.get(State.fault, lambda: None)()
    except OSError as error:
        sys.exit(f"cannot start: {error.strerror}")
    listener = socket.create_server((given.host, given.port))
    print(f"http://{given.host}:{listener.getsockname()[1]}", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    if State.fault == "stubborn":
        server.handle_exit = lambda *_: None
    server.run(sockets=[listener])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
