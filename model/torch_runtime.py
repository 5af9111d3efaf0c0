"""The runtime on torch: CUDA with the one shape captured as a graph, and the CPU where it is asked for.

B batch of a fixed shape, S side of the square.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch

from model.bundle import load_bundle
from model.photos import find_photos
from model.pixels import Pixels, load_square
from model.runtime import Logits, Runtime, cpu_batch_sizes

Precision = Literal["float32", "float16", "bfloat16"]
HALF_PRECISIONS: Final[tuple[Precision, ...]] = ("float16", "bfloat16")
CUDA_BATCH: Final = 64


class TorchRuntime(Runtime):
    """Torch in channels_last, without TF32; on CUDA one launch a batch."""

    kind = "torch"

    def __init__(self, bundle: Path, device: str, threads: int, precision: Precision = "float32") -> None:
        classifier = load_bundle(bundle)
        cuda = device.startswith("cuda")
        super().__init__(classifier.metadata, (CUDA_BATCH,) if cuda else cpu_batch_sizes(classifier.input_size))
        self.device = device
        self._dtype: torch.dtype = getattr(torch, precision)
        self._network = classifier.network.to(device, self._dtype)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if cuda:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
            torch.backends.cuda.matmul.allow_tf32 = False
            self._capture()
        else:
            torch.set_num_threads(threads)

    def run(self, pixels: Pixels) -> Logits:
        """See `Runtime.run`."""
        with torch.inference_mode():
            if self.device == "cpu":
                return self._forward(torch.from_numpy(pixels)).numpy()
            self._input.copy_(torch.from_numpy(pixels))
            self._graph.replay()
            return self._output.cpu().numpy()

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (B, S, S, 3) -> float32 (B, 2). NHWC permuted to NCHW is channels_last already: no copy."""
        x = pixels.permute(0, 3, 1, 2).to(self._dtype) / 255
        logits: torch.Tensor = self._network(x).float()
        return logits

    def _capture(self) -> None:
        """Record the forward pass of the one shape as a CUDA graph, after the warm-up that a capture needs."""
        shape = (*self.batch_sizes, self.input_size, self.input_size, 3)
        with torch.cuda.device(self.device), torch.inference_mode():
            self._input = torch.zeros(shape, dtype=torch.uint8, device=self.device)
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._forward(self._input)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._output = self._forward(self._input)


def open_torch_runtime(bundle: Path, device: str, threads: int, half_precision_photos: Path | None = None) -> Runtime:
    """A proven runtime in float32, or in the first half precision that gives every one of the photos the same label."""
    exact = TorchRuntime(bundle, device, threads)
    exact.prove()
    if half_precision_photos is None:
        return exact
    squares = [load_square(photo.path, exact.input_size) for photo in find_photos(half_precision_photos)]
    for precision in HALF_PRECISIONS:
        fast = TorchRuntime(bundle, device, threads, precision)
        fast.prove()
        if same_labels(exact, fast, squares):
            return fast
    return exact


def same_labels(one: Runtime, other: Runtime, squares: Sequence[Pixels]) -> bool:
    """Whether two runtimes give each of these uint8 (S, S, 3) pictures the same label."""
    chunks = [np.stack(squares[start : start + CUDA_BATCH]) for start in range(0, len(squares), CUDA_BATCH)]
    return all(one.decide(one.logits(chunk)) == other.decide(other.logits(chunk)) for chunk in chunks)
