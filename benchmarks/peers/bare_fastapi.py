"""The least FastAPI that answers a raw picture: decode in a thread, a constant label. `python bare_fastapi.py PORT`."""

import io
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

app = FastAPI()


def decode(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


@app.post("/predict")
async def predict(request: Request) -> dict[str, str]:
    pixels = await run_in_threadpool(decode, await request.body())
    assert pixels.ndim == 3
    return {"label": "bird"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))
