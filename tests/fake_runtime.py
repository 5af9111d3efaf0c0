"""A runtime without a model, for tests of the service: the label is read off the first pixel, and so are faults."""

import os
import time
from pathlib import Path

import numpy as np

from model.labels import ABSTAIN, CLASSES
from model.metadata import BundleMetadata

SIZE = 32
CRASH = (255, 0, 255)
HANG = (255, 0, 254)


class FakeRuntime:
    """Red makes a bird, blue a bicycle, grey is abstained. FAKE_DELAY_S slows each batch down."""

    kind, device, batch_sizes, input_size = "fake", "cpu", (1, 8), SIZE

    def __init__(self, bundle: Path) -> None:
        digest = (bundle / "bundle.json").read_text().strip() or "0" * 64
        self.metadata = BundleMetadata(abstain_below=0, weights_sha256=digest)
        self.delay_s = float(os.environ.get("FAKE_DELAY_S", "0"))

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        corners = [tuple(int(value) for value in corner) for corner in pixels[:, 0, 0]]
        if CRASH in corners:
            os._exit(3)
        if HANG in corners:
            time.sleep(600)
        time.sleep(self.delay_s)
        return pixels[:, 0, 0, ::2].astype(np.float32)

    def decide(self, logits: np.ndarray) -> list[str]:
        return [ABSTAIN if a == b else CLASSES[int(a > b)] for a, b in logits]


def open_runtime(bundle: Path, **_: object) -> FakeRuntime:
    """The factory that the service is given. FAKE_OPEN_S slows it down."""
    time.sleep(float(os.environ.get("FAKE_OPEN_S", "0")))
    return FakeRuntime(bundle)


def square(label: str, size: int = SIZE) -> np.ndarray:
    """A picture that is classified as `label`."""
    colour = {"bird": (200, 0, 10), "bicycle": (10, 0, 200), ABSTAIN: (90, 90, 90)}[label]
    return np.full((size, size, 3), colour, np.uint8)
