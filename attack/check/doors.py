"""The five ways to send one picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from attack.check.samples import png
from attack.check.subject import Subject
from attack.wire.messages import NPY, npy_body
from model.pixels import Pixels


@dataclass(frozen=True)
class Door:
    """One way to send a picture."""

    name: str
    pictures: int
    """How often it is sent: 2 where the request is a batch."""
    ask: Callable[[], httpx.Response]

    def labels(self, answer: dict[str, Any]) -> list[str]:
        """The labels in an answer's JSON; empty where there are none."""
        told = answer.get("labels") if self.pictures > 1 else [answer.get("label")]
        return [str(label) for label in told] if isinstance(told, list) else []


def doors(subject: Subject, picture: Pixels) -> list[Door]:
    """uint8 (S, S, 3) -> the requests that send it."""
    file, pair = png(picture), np.stack([picture, picture])
    form = ("a.png", file, "image/png")
    http, post = subject.http, subject.post
    return [
        Door("npy", 1, lambda: post("/predict", npy_body(picture), NPY)),
        Door("PNG body", 1, lambda: post("/predict", file, "image/png")),
        Door("multipart", 1, lambda: http.post("/predict", files={"image": form})),
        Door("npy batch", 2, lambda: post("/predict/batch", npy_body(pair), NPY)),
        Door("multipart batch", 2, lambda: http.post("/predict/batch", files=[("images", form)] * 2)),
    ]
