"""A run's bundle made fit to ship: half the bytes, the same labels."""

from pathlib import Path

import torch

from model.bundle import load_bundle, save_bundle
from model.errors import DataError
from model.metadata import BundleMetadata
from train.cache import open_cache
from train.validation import natural_logits


def release(bundle: Path, photos: list[Path], out: Path) -> BundleMetadata:
    """Write the bundle to `out` with float16 weights, and check that every label on `photos` stays.

    photos: folders with bicycle/ and bird/. The weights are float32 again once loaded. Raises DataError, and leaves
    nothing in `out`, when a label changes.
    """
    classifier = load_bundle(bundle)
    halved = load_bundle(bundle)
    for tensor in halved.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    for folder in photos:
        cache = open_cache(folder, classifier.input_size)
        before, after = (model.decide(natural_logits(model, cache)) for model in (classifier, halved))
        changed = [name for name, old, new in zip(cache.names, before, after, strict=True) if old != new]
        if changed:
            raise DataError(
                f"{folder}: half precision changes {len(changed)} of {len(cache)} labels, {changed[0]} first"
            )
    return save_bundle(out, halved.network, classifier.metadata, torch.float16)
