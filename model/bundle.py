"""The bundle: a directory with `model.safetensors` and `bundle.json`, and nothing that can run code.

save_bundle(path, model, metadata)     written aside, then moved into place
load_bundle(path) -> Classifier        refuses whatever is truncated, altered or foreign, in one line
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from model.architecture import Architecture, PixelClassifier
from model.decision import decide
from model.errors import BundleError
from model.files import replace_file
from model.labels import CLASSES

FORMAT_VERSION: Final = 1
WEIGHTS_FILE: Final = "model.safetensors"
METADATA_FILE: Final = "bundle.json"
MAX_METADATA_BYTES: Final = 16 * 2**20


class BundleMetadata(BaseModel):
    """What `bundle.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format_version: int = FORMAT_VERSION
    architecture: Architecture = Architecture()
    classes: tuple[str, ...] = CLASSES
    input_size: int = Field(default=224, ge=32, le=1024)
    """Side in pixels of the square that the service classifies."""
    abstain_below: float
    """Answers whose confidence (largest logit) is below this are `abstain`."""
    coverage: float = Field(default=0.8, gt=0, le=1)
    """Share of the clean calibration photos that the threshold covers."""
    weights_sha256: str = ""
    """Hex SHA-256 of the bytes of `model.safetensors`."""
    training: dict[str, Any] = {}
    """Configuration, data digest, seed and versions of the run that made the weights."""
    metrics: dict[str, Any] = {}
    """Figures of that run, for people; nothing reads them back."""


class Classifier(nn.Module):
    """A network with its decision rule, as `load_bundle` returns it (eval mode, float32)."""

    def __init__(self, network: PixelClassifier, metadata: BundleMetadata) -> None:
        super().__init__()
        self.network = network
        self.metadata = metadata

    @property
    def input_size(self) -> int:
        """Side in pixels of the square that the service classifies; `forward` takes any size."""
        return self.metadata.input_size

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) floating point in [0, 1] -> (N, 2) logits, bicycle first."""
        logits: Tensor = self.network(x)
        return logits

    def decide(self, logits: Tensor) -> list[str]:
        """(N, 2) logits -> N answers of 'bicycle' | 'bird' | 'abstain'."""
        return decide(logits, self.metadata.abstain_below)


def save_bundle(
    path: Path, network: PixelClassifier, metadata: BundleMetadata, dtype: torch.dtype = torch.float32
) -> BundleMetadata:
    """Write a bundle and return its metadata with the weights' hash filled in.

    `dtype` float16 halves the file; weights are float32 again once loaded. Each file is replaced atomically, weights
    first: a reader between the two finds a hash that does not match and refuses, rather than a mixture that runs.
    """
    tensors = {name: _stored(tensor, dtype) for name, tensor in network.state_dict().items()}
    weights = save_tensors(tensors, metadata={"format": "pt"})
    metadata = metadata.model_copy(
        update={"architecture": network.architecture, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    )
    path.mkdir(parents=True, exist_ok=True)
    replace_file(path / WEIGHTS_FILE, weights)
    replace_file(path / METADATA_FILE, (metadata.model_dump_json(indent=2) + "\n").encode())
    return metadata


def load_bundle(path: str | Path, device: str | torch.device = "cpu") -> Classifier:
    """Read a bundle into an eval-mode float32 Classifier on `device`.

    Raises BundleError, one line naming the file, when anything is missing, truncated, altered or of another format.
    """
    path = Path(path)
    metadata = read_metadata(path)
    weights = _read(path / WEIGHTS_FILE)
    digest = hashlib.sha256(weights).hexdigest()
    if digest != metadata.weights_sha256:
        raise BundleError(
            f"{path / WEIGHTS_FILE}: truncated or altered (SHA-256 {digest[:12]}..., {METADATA_FILE} says "
            f"{metadata.weights_sha256[:12]}...); fetch the bundle again"
        )
    network = PixelClassifier(metadata.architecture)
    try:
        # strict: a missing, foreign or misshapen tensor is refused; copying into float32 parameters undoes float16.
        network.load_state_dict(load_tensors(weights))
    except (SafetensorError, RuntimeError) as error:
        raise BundleError(f"{path / WEIGHTS_FILE}: {_first_line(error)}; not weights of this architecture") from error
    return Classifier(network, metadata).eval().to(device)


def read_metadata(path: Path) -> BundleMetadata:
    """Read and validate `bundle.json` alone. Raises BundleError."""
    file = path / METADATA_FILE
    try:
        metadata = BundleMetadata.model_validate_json(_read(file, MAX_METADATA_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{file}: {where}: {first['msg']}") from error
    if metadata.format_version != FORMAT_VERSION:
        raise BundleError(f"{file}: format_version {metadata.format_version}; this version reads {FORMAT_VERSION}")
    if metadata.classes != CLASSES:
        raise BundleError(f"{file}: classes are {list(metadata.classes)}; expected {list(CLASSES)}")
    return metadata


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()


def _read(file: Path, max_bytes: int | None = None) -> bytes:
    try:
        if max_bytes is not None and file.stat().st_size > max_bytes:
            raise BundleError(f"{file}: {file.stat().st_size} bytes; at most {max_bytes} are read")
        return file.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{file}: no such file; a bundle holds {METADATA_FILE} and {WEIGHTS_FILE}") from error
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
