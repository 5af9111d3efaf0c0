"""Runs a bundle so that an image's logits never depend on its company: fixed shapes, proven equal bit for bit.

    runtime = open_runtime(bundle)
    runtime.decide(runtime.logits(pixels))

N images, B batch of a fixed shape, S side of the square. Convolution libraries choose their algorithm by the shape of
the batch, and another algorithm rounds otherwise. So a runtime computes in a few fixed shapes; when it opens it runs
the same images alone, in every shape and at other positions, and keeps only the shapes that give the same bits.
"""

import itertools
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from model.bundle import BundleMetadata, Classifier, load_bundle
from model.cpus import usable_cpus
from model.decision import decide
from model.errors import ConfigError, RuntimeUnfitError
from model.onnx_export import export_onnx
from model.pixels import Pixels

Logits = npt.NDArray[np.float32]
Kind = Literal["auto", "torch", "onnx"]
Precision = Literal["float32", "float16", "bfloat16"]

PIXELS_PER_BATCH: Final = 8 * 224 * 224
"""The largest shape on a CPU holds about this many pixels: larger ones gain nothing and take memory."""
MAX_CPU_BATCH: Final = 32
CUDA_BATCH: Final = 64


class Runtime(ABC):
    """A loaded model that turns pixels into logits in fixed batch shapes. Not for two threads at once."""

    kind: str
    device: str

    def __init__(self, metadata: BundleMetadata, batch_sizes: tuple[int, ...]) -> None:
        self.metadata = metadata
        self.batch_sizes = batch_sizes
        """Ascending; every computation has one of these batch sizes."""

    @property
    def input_size(self) -> int:
        """Side S in pixels of the square that is classified."""
        return self.metadata.input_size

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 (N, S, S, 3) -> float32 (N, 2), bicycle first; each row's bits depend on its own image alone."""
        self._expect(pixels)
        parts: list[Logits] = []
        done = 0
        while done < len(pixels):
            remaining = len(pixels) - done
            size = max((size for size in self.batch_sizes if size <= remaining), default=self.batch_sizes[0])
            parts.append(self._padded(pixels[done : done + size], size))
            done += size
        return np.concatenate(parts) if parts else np.empty((0, 2), np.float32)

    def decide(self, logits: Logits) -> list[str]:
        """(N, 2) logits -> N answers of 'bicycle' | 'bird' | 'abstain'."""
        return decide(torch.from_numpy(logits), self.metadata.abstain_below)

    @abstractmethod
    def run(self, pixels: Pixels) -> Logits:
        """uint8 (B, S, S, 3), B one of `batch_sizes`, contiguous -> float32 (B, 2)."""

    def prove(self) -> None:
        """Warm every shape up and keep those that agree bit for bit with the largest one.

        Raises RuntimeUnfitError if not even the largest shape gives an image the same bits at another position.
        """
        largest = self.batch_sizes[-1]
        shape = (largest, self.input_size, self.input_size, 3)
        probes = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        expected = self.run(probes)
        if not np.array_equal(np.roll(expected, 1, axis=0), self.run(np.roll(probes, 1, axis=0))):
            raise RuntimeUnfitError(f"{self.kind} on {self.device}: an image's logits depend on its place in the batch")
        smaller = [size for size in self.batch_sizes[:-1] if self._agrees(probes, expected, size)]
        self.batch_sizes = (*smaller, largest)

    def _agrees(self, probes: Pixels, expected: Logits, size: int) -> bool:
        places = (slice(0, size), slice(len(probes) - size, len(probes)))
        return all(np.array_equal(self.run(np.ascontiguousarray(probes[at])), expected[at]) for at in places)

    def _padded(self, pixels: Pixels, size: int) -> Logits:
        count = len(pixels)
        if count < size:
            padding = np.zeros((size - count, *pixels.shape[1:]), np.uint8)
            pixels = np.concatenate([pixels, padding])
        return self.run(np.ascontiguousarray(pixels))[:count]

    def _expect(self, pixels: Pixels) -> None:
        wanted = (self.input_size, self.input_size, 3)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != wanted:
            raise ValueError(
                f"pixels must be uint8 (N, {', '.join(map(str, wanted))}), not {pixels.dtype} {pixels.shape}"
            )


class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU, with the thread count fixed."""

    kind, device = "onnx", "cpu"

    def __init__(self, classifier: Classifier, threads: int) -> None:
        super().__init__(classifier.metadata, cpu_batch_sizes(classifier.input_size))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = export_onnx(classifier.network, classifier.input_size)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(self, pixels: Pixels) -> Logits:
        """See `Runtime.run`."""
        logits: Logits = self._session.run(["logits"], {"pixels": pixels})[0]
        return logits


class TorchRuntime(Runtime):
    """Torch in channels_last; on CUDA one shape, captured as a graph, without TF32."""

    kind = "torch"

    def __init__(self, classifier: Classifier, device: str, precision: Precision = "float32") -> None:
        cuda = device.startswith("cuda")
        sizes = (CUDA_BATCH,) if cuda else cpu_batch_sizes(classifier.input_size)
        super().__init__(classifier.metadata, sizes)
        self.device = device
        self._dtype: torch.dtype = getattr(torch, precision)
        self._network = classifier.network.to(device, self._dtype)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if cuda:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
            torch.backends.cuda.matmul.allow_tf32 = False
            self._capture()

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
        """Record the forward pass of the one shape as a CUDA graph: one launch per batch."""
        shape = (*self.batch_sizes, self.input_size, self.input_size, 3)
        self._input = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        with torch.inference_mode():
            stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self._forward(self._input)
            torch.cuda.current_stream(self.device).wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._output = self._forward(self._input)


def open_runtime(
    bundle: Path,
    kind: Kind = "auto",
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
) -> Runtime:
    """Load a bundle, warm it up in every shape and prove the shapes equal; ready for work when it returns.

    `auto`: torch on CUDA where there is a device, else ONNX Runtime on the CPU. `threads` of the CPU: all that may be
    used. Raises BundleError for the bundle, ConfigError for a device that is not there or an unknown combination.
    """
    device = _device(kind, device)
    threads = threads or usable_cpus()
    classifier = load_bundle(bundle)
    runtime: Runtime
    if device == "cpu" and kind != "torch":
        _expect_float32(precision)
        runtime = OnnxRuntime(classifier, threads)
    else:
        if device == "cpu":
            _expect_float32(precision)
            torch.set_num_threads(threads)
        runtime = TorchRuntime(classifier, device, precision)
    runtime.prove()
    return runtime


def cpu_batch_sizes(size: int) -> tuple[int, ...]:
    """Powers of two, as far as the largest has about `PIXELS_PER_BATCH` pixels: 1 to 8 at 224, 1 to 32 at 64."""
    most = min(MAX_CPU_BATCH, max(1, PIXELS_PER_BATCH // size**2))
    return tuple(itertools.takewhile(lambda batch: batch <= most, (2**power for power in range(16))))


def _device(kind: str, device: str) -> str:
    if kind not in ("auto", "torch", "onnx"):
        raise ConfigError(f"the runtime is {kind!r}; choose auto, torch or onnx")
    if device == "auto":
        return "cuda" if kind != "onnx" and torch.cuda.is_available() else "cpu"
    if device != "cpu" and not device.startswith("cuda"):
        raise ConfigError(f"the device is {device!r}; choose auto, cpu or cuda")
    if device.startswith("cuda") and kind == "onnx":
        raise ConfigError("the onnx runtime runs on the CPU; choose the torch runtime for cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is visible here; choose the device auto or cpu")
    return device


def _expect_float32(precision: str) -> None:
    if precision != "float32":
        raise ConfigError(f"{precision} is for CUDA; the CPU computes in float32")
