"""What a bundle says of itself, and its weights as bytes that match. No torch here: the CPU service runs without it."""

import hashlib
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import BundleError, UserError
from model.files import read_bounded
from model.labels import CLASSES

FORMAT_VERSION: Final = 1
WEIGHTS_FILE: Final = "model.safetensors"
METADATA_FILE: Final = "bundle.json"
MAX_METADATA_BYTES: Final = 16 * 2**20
MAX_WEIGHTS_BYTES: Final = 2**30
"""Five times the weights of the largest network that a bundle can name."""


class Architecture(BaseModel):
    """What must be known to build the network before its weights are read."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "wrn_34_10", "wrn_16_1"] = "resnet50"
    """One of torchvision's residual networks, or a wide one for 32 px, `wrn_DEPTH_WIDTH`; the defence: a `resnet50`."""
    activation: Literal["relu", "silu"] = "relu"
    """Smooth activations (`silu`) gain robustness (Xie et al. 2020); torchvision's own is `relu`."""
    exposure: Literal["fixed", "photo", "local"] = "fixed"
    """`photo`: every picture is first brought to one mean and contrast, so that light and haze move the logits less.
    `local`: before that each channel loses its own mean and each place most of the light around it, so that a colour
    cast, a pale picture and a cloud of fog move them hardly at all."""
    light_removed: float = Field(default=0.7, gt=0, le=1)
    """Share of the light around a place that `local` takes away."""
    contrast_floor: float = Field(default=0.05, gt=0, le=1)
    """Added in squares to a picture's standard deviation before all but `fixed` divide by it: a blank picture
    is not blown up, and gradients stay finite. The lower it is, the less a pale picture differs from a strong one."""


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
    """Share of the calibration photos that the threshold covers; of a release also under each corruption."""
    weights_sha256: str = ""
    """Hex SHA-256 of the bytes of `model.safetensors`."""
    training: dict[str, Any] = {}
    """Configuration, data digest, seed and versions of the run that made the weights."""
    metrics: dict[str, Any] = {}
    """Figures of that run, for people; nothing reads them back."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that is said here, the hash of the weights too: the same for equal bundles alone."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def read_metadata(path: Path, classes: tuple[str, ...] = CLASSES) -> BundleMetadata:
    """Read and validate `bundle.json` alone. Raises BundleError, also for a bundle of other classes."""
    file = path / METADATA_FILE
    try:
        metadata = BundleMetadata.model_validate_json(_read(file, MAX_METADATA_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{file}: {where}: {first['msg']}") from error
    if metadata.format_version != FORMAT_VERSION:
        raise BundleError(f"{file}: format_version {metadata.format_version}; this version reads {FORMAT_VERSION}")
    if metadata.classes != classes:
        raise BundleError(f"{file}: classes are {list(metadata.classes)}; expected {list(classes)}")
    return metadata


def read_weights(path: Path, metadata: BundleMetadata) -> bytes:
    """The bytes of `model.safetensors`. Raises BundleError unless they have the hash that `bundle.json` says."""
    weights = _read(path / WEIGHTS_FILE, MAX_WEIGHTS_BYTES)
    digest = hashlib.sha256(weights).hexdigest()
    if digest != metadata.weights_sha256:
        raise BundleError(
            f"{path / WEIGHTS_FILE}: truncated or altered (SHA-256 {digest[:12]}..., {METADATA_FILE} says "
            f"{metadata.weights_sha256[:12]}...); fetch the bundle again"
        )
    return weights


def _read(file: Path, max_bytes: int) -> bytes:
    try:
        return read_bounded(file, max_bytes)
    except UserError as error:
        raise BundleError(f"{file}: {error}") from error
    except FileNotFoundError as error:
        raise BundleError(f"{file}: no such file; a bundle holds {METADATA_FILE} and {WEIGHTS_FILE}") from error
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}") from error
