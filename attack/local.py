"""A bundle in this process as an oracle: the same attacks without HTTP. N batch, S side."""

from pathlib import Path

import torch

import model
from model.bundle import load_bundle
from model.errors import BundleError
from model.pixels import Pixels, load_square


def release() -> Path:
    """The packaged bundle. Raises BundleError where there is none."""
    path = Path(model.__file__).parent / "release"
    if not path.is_dir():
        raise BundleError("no released weights are packaged here; give --bundle DIR or --endpoint URL")
    return path


class LocalOracle:
    """Labels by a bundle's own decision rule."""

    slots = max_slots = 1

    def __init__(self, bundle: Path, device: str = "cpu", max_batch: int = 64) -> None:
        self.classifier = load_bundle(bundle, device)
        self.device, self.max_batch = device, max_batch
        self.identity = self.classifier.metadata.weights_sha256
        self.input_size = self.classifier.input_size

    @torch.inference_mode()
    def labels(self, pixels: Pixels) -> list[str]:
        """uint8 (N, S, S, 3) -> N labels."""
        x = torch.from_numpy(pixels.copy()).to(self.device).permute(0, 3, 1, 2).float() / 255
        return self.classifier.decide(self.classifier(x))

    def label_of_png(self, png: bytes) -> str:
        """Decoded and brought to S as the service does it."""
        return self.labels(load_square(png, self.input_size)[None])[0]

    def label_of_file(self, path: Path) -> str:
        """Raises ImageError for a file that is no picture."""
        return self.labels(load_square(path, self.input_size)[None])[0]
