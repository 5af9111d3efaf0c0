"""Runs a bundle so that an image's logits never depend on its company: fixed shapes, proven equal bit for bit.

    runtime = open_runtime(bundle)
    runtime.decide(runtime.logits(pixels))

N images, B batch of a fixed shape, S side of the square. Convolution libraries choose their algorithm by the shape of
the batch, and another algorithm rounds otherwise. So a runtime computes in a few fixed shapes; when it opens it runs
the same images alone, in every shape and at other positions, and keeps only the shapes that give the same bits.
"""

import itertools
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from model.answers import answers
from model.cpus import usable_cpus
from model.errors import BundleError, ConfigError, RuntimeUnfitError
from model.metadata import WEIGHTS_FILE, BundleMetadata, read_metadata, read_weights
from model.onnx_export import export_onnx
from model.pixels import Pixels

Logits = npt.NDArray[np.float32]
Kind = Literal["auto", "torch", "onnx"]

PIXELS_PER_BATCH: Final = 8 * 224 * 224
"""The largest shape on a CPU holds about this many pixels: larger ones gain nothing and take memory."""
MAX_CPU_BATCH: Final = 32
CUDA_DEVICE_FILES: Final = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")


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
        return answers(logits, self.metadata.abstain_below)

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
        return np.array_equal(self.run(np.ascontiguousarray(probes[-size:])), expected[-size:])

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
    """ONNX Runtime on the CPU, with the thread count fixed; the graph is made from the bundle's weights."""

    kind, device = "onnx", "cpu"

    def __init__(self, bundle: Path, threads: int) -> None:
        metadata = read_metadata(bundle)
        super().__init__(metadata, cpu_batch_sizes(metadata.input_size))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal ones: the others come as exceptions too
        graph = _graph(bundle, metadata)
        misfit = BundleError(f"{bundle / WEIGHTS_FILE}: tensors whose shapes do not fit the architecture")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            logits = self.run(np.zeros((1, self.input_size, self.input_size, 3), np.uint8))
        except Exception as error:  # its errors have no common root
            raise misfit from error
        if logits.shape != (1, len(metadata.classes)):
            raise misfit

    def run(self, pixels: Pixels) -> Logits:
        """See `Runtime.run`."""
        logits: Logits = self._session.run(["logits"], {"pixels": pixels})[0]
        return logits


def open_runtime(
    bundle: Path,
    kind: Kind = "auto",
    device: str = "auto",
    threads: int | None = None,
    half_precision_photos: str | Path | None = None,
) -> Runtime:
    """Load a bundle, warm it up in every shape and prove the shapes equal; ready for work when it returns.

    `auto`: torch on CUDA where there is a device, else ONNX Runtime on the CPU. `threads` of the CPU: all that may be
    used. `half_precision_photos`, a folder of validation photos, lets CUDA compute in half precision if every one of
    them keeps its label. Raises BundleError for the bundle, ConfigError for a device that is
    not there or a kind that it cannot run.
    """
    device = _device(kind, device)
    if device == "cpu" and kind != "torch":
        runtime: Runtime = OnnxRuntime(bundle, threads or usable_cpus())
        runtime.prove()
        return runtime
    from model.torch_runtime import open_torch_runtime  # noqa: PLC0415  (seconds and 300 MB that the CPU does without)

    photos = Path(half_precision_photos) if half_precision_photos and device != "cpu" else None
    return open_torch_runtime(bundle, device, threads or usable_cpus(), photos)


def cpu_batch_sizes(size: int) -> tuple[int, ...]:
    """Powers of two, as far as the largest has about `PIXELS_PER_BATCH` pixels: 1 to 8 at 224, 1 to 32 at 64."""
    most = min(MAX_CPU_BATCH, max(1, PIXELS_PER_BATCH // size**2))
    return tuple(itertools.takewhile(lambda batch: batch <= most, (2**power for power in range(16))))


def _graph(bundle: Path, metadata: BundleMetadata) -> bytes:
    try:
        weights = load_tensors(read_weights(bundle, metadata))
        return export_onnx(weights, metadata.architecture, metadata.input_size)
    except (SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{bundle / WEIGHTS_FILE}: {error}; not weights of this architecture") from error


def _device(kind: str, device: str) -> str:
    if kind not in ("auto", "torch", "onnx"):
        raise ConfigError(f"the runtime is {kind!r}; choose auto, torch or onnx")
    if device == "auto":
        return "cuda" if kind != "onnx" and _cuda_usable() else "cpu"
    if device != "cpu" and not device.startswith("cuda"):
        raise ConfigError(f"the device is {device!r}; choose auto, cpu or cuda")
    if device.startswith("cuda") and kind == "onnx":
        raise ConfigError("the onnx runtime runs on the CPU; choose the torch runtime for cuda")
    if device.startswith("cuda") and not _cuda_usable():
        raise ConfigError("no CUDA device is visible here; choose the device auto or cpu")
    return device


def _cuda_usable() -> bool:
    """Whether torch can use a CUDA device; torch is asked only where a driver has left its device files."""
    if sys.platform == "linux" and not any(Path(file).exists() for file in CUDA_DEVICE_FILES):
        return False
    import torch  # noqa: PLC0415  (seconds and 300 MB that the CPU does without)

    return torch.cuda.is_available()
