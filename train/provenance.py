"""What a run is made of: the fingerprint that its checkpoint must match, and what its bundle says of it."""

import hashlib
from collections.abc import Sequence
from typing import Any

import kornia
import torch

from model.bundle import read_metadata
from model.vision import torchvision
from train.cache import PhotoCache
from train.config import TrainConfig

Leg = tuple[int, float, float]
"""Steps done before it, and its learning_rate and beta, which a run may change where it is gone on with."""


def fingerprint(config: TrainConfig, photos: PhotoCache, val: PhotoCache) -> str:
    """The hash of all that one run cannot change on its way."""
    # A run whose loss has left the numbers goes on with a lower rate or beta, and without the bundle it began from.
    changeable: Any = {"threads": True, "start_from": True, "optimizer": {"learning_rate"}, "loss": {"beta"}}
    parts = (config.model_dump_json(exclude=changeable), photos.digest, val.digest)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def legs_of(before: Sequence[Leg], step: int, config: TrainConfig) -> list[Leg]:
    """The legs of a run that goes on at `step` with what `config` says; `before` are those that it had, if any."""
    now = (step, config.optimizer.learning_rate, config.loss.beta)
    kept = [leg for leg in before if leg[0] < step]
    return kept if kept and kept[-1][1:] == now[1:] else [*kept, now]


def start_sha256(config: TrainConfig) -> str | None:
    """The hash of the weights that a run starts from, if it starts from any."""
    return read_metadata(config.start_from, config.classes).weights_sha256 if config.start_from else None


def provenance(
    config: TrainConfig, start_sha256: str | None, photos: PhotoCache, val: PhotoCache, steps: int, legs: Sequence[Leg]
) -> dict[str, Any]:
    """For the bundle, as JSON has it; `config` is that of the last leg, and `legs` stand there where it was not all."""
    names = ("from_step", "learning_rate", "beta")
    changed = {"legs": [dict(zip(names, leg, strict=True)) for leg in legs]} if len(legs) > 1 else {}
    return {
        # Not the path of start_from, which says nothing elsewhere, but the hash of what lay there.
        "config": config.model_dump(mode="json", exclude={"start_from"}),
        "start_from": start_sha256,
        "data": {"train": _described(photos), "val": _described(val)},
        "steps": steps,
        **changed,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "kornia": kornia.__version__},
    }


def _described(photos: PhotoCache) -> dict[str, Any]:
    counts = torch.bincount(photos.labels, minlength=len(photos.classes)).tolist()
    return {"sha256": photos.digest, **dict(zip(photos.classes, counts, strict=True))}
