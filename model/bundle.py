"""The bundle: a directory with `model.safetensors` and `bundle.json`, and nothing that can run code.

save_bundle(path, model, metadata)     written aside, then moved into place
load_bundle(path) -> Classifier        refuses whatever is truncated, altered or foreign, in one line
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from model.architecture import PixelClassifier
from model.decision import decide
from model.errors import BundleError
from model.files import replace_file
from model.labels import CLASSES
from model.metadata import METADATA_FILE, WEIGHTS_FILE, BundleMetadata, read_metadata, read_weights

__all__ = [
    "METADATA_FILE",
    "WEIGHTS_FILE",
    "BundleMetadata",
    "Classifier",
    "load_bundle",
    "read_metadata",
    "save_bundle",
]


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
        """(N, 3, H, W) floating point in [0, 1] -> (N, 2) logits, bicycle first; a column for each class."""
        logits: Tensor = self.network(x)
        return logits

    def decide(self, logits: Tensor) -> list[str]:
        """(N, 2) logits -> N answers of 'bicycle' | 'bird' | 'abstain'."""
        return decide(logits, self.metadata.abstain_below, self.metadata.classes)


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


def load_bundle(path: str | Path, device: str | torch.device = "cpu", classes: tuple[str, ...] = CLASSES) -> Classifier:
    """Read a bundle of these classes into an eval-mode float32 Classifier on `device`.

    Raises BundleError, one line naming the file, when anything is missing, truncated, altered or of another format.
    """
    path = Path(path)
    metadata = read_metadata(path, classes)
    weights = read_weights(path, metadata)
    network = PixelClassifier(metadata.architecture, len(classes))
    try:
        # strict: a missing, foreign or misshapen tensor is refused; copying into float32 parameters undoes float16.
        network.load_state_dict(load_tensors(weights))
    except (SafetensorError, RuntimeError) as error:
        raise BundleError(f"{path / WEIGHTS_FILE}: {_first_line(error)}; not weights of this architecture") from error
    return Classifier(network, metadata).eval().to(device)


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
