"""The ways to send one picture: every body that the contract names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from attack.check.samples import image_file
from attack.check.subject import Subject
from attack.wire.messages import NPY, npy_body
from model.pixels import Pixels


@dataclass(frozen=True)
class Door:
    """One way to send a picture."""

    name: str
    ask: Callable[[], httpx.Response]
    pictures: int = 1
    """How often it is sent: 2 where the request is a batch."""
    exact: bool = True
    """Whether the endpoint gets the very pixels; a JPEG loses some."""
    even: bool = True
    """Whether the bodies of all pictures of one size are of one length, as a compressed file's are not."""

    @property
    def key(self) -> str:
        """The one key of its answer."""
        return "labels" if self.pictures > 1 else "label"

    def labels(self, answer: dict[str, Any]) -> list[str]:
        """The labels in an answer's JSON; empty where there are none."""
        told = answer.get(self.key) if self.pictures > 1 else [answer.get(self.key)]
        return [str(label) for label in told] if isinstance(told, list) else []


def doors(subject: Subject, picture: Pixels) -> list[Door]:
    """uint8 (S, S, 3) -> the requests that send it."""
    file, pair = image_file(picture, "PNG"), np.stack([picture, picture])
    form = ("a.png", file, "image/png")
    http, post = subject.http, subject.post

    def body(kind: str) -> Callable[[], httpx.Response]:
        return lambda: post("/predict", image_file(picture, kind), f"image/{kind.lower()}")

    return [
        Door("npy", lambda: post("/predict", npy_body(picture), NPY)),
        Door("PNG body", body("PNG")),
        Door("BMP body", body("BMP")),
        Door("WebP body", body("WebP"), even=False),
        Door("JPEG body", body("JPEG"), exact=False, even=False),
        Door("multipart", lambda: http.post("/predict", files={"image": form})),
        Door("npy batch", lambda: post("/predict/batch", npy_body(pair), NPY, len(pair)), len(pair)),
        Door(
            "multipart batch",
            lambda: http.post("/predict/batch", files=[("images", form)] * 2, timeout=subject.allowed_s(2)),
            pictures=2,
        ),
    ]
