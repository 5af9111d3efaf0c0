"""A model that always says bird, for measuring what the service costs beside its model."""

from pathlib import Path

import numpy as np

from model.metadata import BundleMetadata


class ConstantRuntime:
    """Answers without looking."""

    kind, device, batch_sizes = "constant", "cpu", (64,)
    metadata = BundleMetadata(abstain_below=0, weights_sha256="0" * 64)

    def __init__(self, input_size: int) -> None:
        self.input_size = input_size

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return np.zeros((len(pixels), 2), np.float32)

    def decide(self, logits: np.ndarray) -> list[str]:
        return ["bird"] * len(logits)


def open_224(_bundle: Path, **_options: object) -> ConstantRuntime:
    """The factory that the service is given, for squares of 224 pixels a side."""
    return ConstantRuntime(224)


def open_64(_bundle: Path, **_options: object) -> ConstantRuntime:
    """Likewise, of 64."""
    return ConstantRuntime(64)
