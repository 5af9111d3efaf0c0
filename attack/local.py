"""A bundle in this process as an oracle: the same attacks without HTTP, and `predict --bundle`. N batch, S side."""

from pathlib import Path

from model.errors import BundleError
from model.pixels import Pixels, load_square
from model.runtime import Kind, open_runtime


class LocalOracle:
    """Labels by a bundle's own decision rule, on the CPU or on CUDA. Raises what `open_runtime` raises."""

    slots = max_slots = 1

    def __init__(self, bundle: Path, kind: Kind = "auto", device: str = "auto", threads: int | None = None) -> None:
        self.runtime = open_runtime(bundle, kind, device, threads)
        self.max_batch = max(64, *self.runtime.batch_sizes)
        metadata = self.runtime.metadata
        self.identity = f"{metadata.weights_sha256} abstains below {metadata.abstain_below}"
        self.input_size = self.runtime.input_size

    def identity_now(self) -> str:
        """What was loaded answers to the end."""
        return self.identity

    def labels(self, pixels: Pixels) -> list[str]:
        """uint8 (N, S, S, 3) -> N labels."""
        return self.runtime.decide(self.runtime.logits(pixels))

    def label_of_png(self, png: bytes) -> str:
        """Decoded and brought to S as the service does it."""
        return self.labels(load_square(png, self.input_size)[None])[0]

    def label_of_file(self, path: Path) -> str:
        """Raises ImageError for a file that is no picture."""
        return self.labels(load_square(path, self.input_size)[None])[0]


def release() -> Path:
    """The packaged bundle. Raises BundleError where there is none."""
    path = Path(__file__).resolve().parent.parent / "model" / "release"
    if not path.is_dir():
        raise BundleError("no released weights in this installation; give --bundle DIR or --endpoint URL")
    return path
