"""What a run is made of: the fingerprint that its checkpoint must match, and what its bundle says of it."""

import hashlib
from typing import Any

import kornia
import torch

from model.bundle import read_metadata
from model.vision import torchvision
from train.cache import PhotoCache
from train.config import TrainConfig


def fingerprint(config: TrainConfig, photos: PhotoCache, val: PhotoCache) -> str:
    """The hash of all that one run cannot change on its way."""
    # A run whose loss has left the numbers goes on with a lower rate or beta, and without the bundle it began from.
    changeable: Any = {"threads": True, "start_from": True, "optimizer": {"learning_rate"}, "loss": {"beta"}}
    parts = (config.model_dump_json(exclude=changeable), photos.digest, val.digest)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def start_sha256(config: TrainConfig) -> str | None:
    """The hash of the weights that a run starts from, if it starts from any."""
    return read_metadata(config.start_from, config.classes).weights_sha256 if config.start_from else None


def provenance(
    config: TrainConfig, start_sha256: str | None, photos: PhotoCache, val: PhotoCache, steps: int
) -> dict[str, Any]:
    """For the bundle, as JSON has it."""
    return {
        # Not the path of start_from, which says nothing elsewhere, but the hash of what lay there.
        "config": config.model_dump(mode="json", exclude={"start_from"}),
        "start_from": start_sha256,
        "data": {"train": _described(photos), "val": _described(val)},
        "steps": steps,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "kornia": kornia.__version__},
    }


def _described(photos: PhotoCache) -> dict[str, Any]:
    counts = torch.bincount(photos.labels, minlength=len(photos.classes)).tolist()
    return {"sha256": photos.digest, **dict(zip(photos.classes, counts, strict=True))}
