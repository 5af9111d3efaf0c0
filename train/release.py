"""A run's bundle made fit to ship: half the bytes, the same labels."""

from pathlib import Path

import torch

from model.bundle import Classifier, load_bundle, save_bundle
from model.decision import calibrate
from model.errors import DataError
from model.metadata import BundleMetadata
from train.cache import PhotoCache, open_cache
from train.validation import accuracy, natural_logits


def release(bundle: Path, photos: list[Path], out: Path, calibrate_on: Path | None = None) -> BundleMetadata:
    """Write the bundle to `out` with float16 weights, and check that every label on `photos` stays.

    photos: folders with bicycle/ and bird/. calibrate_on: such a folder too; the threshold, and the accuracies on
    natural photos, are taken anew from it, for weights whose run saw these photos in another form. The weights are
    float32 again once loaded. Raises DataError, and leaves nothing in `out`, when a label changes.
    """
    classifier = load_bundle(bundle)
    halved = load_bundle(bundle)
    for tensor in halved.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    if calibrate_on is not None:
        classifier.metadata = halved.metadata = _calibrated(halved, open_cache(calibrate_on, halved.input_size))
    for folder in photos:
        cache = open_cache(folder, classifier.input_size)
        before, after = (model.decide(natural_logits(model, cache)) for model in (classifier, halved))
        changed = [name for name, old, new in zip(cache.names, before, after, strict=True) if old != new]
        if changed:
            raise DataError(
                f"{folder}: half precision changes {len(changed)} of {len(cache)} labels, {changed[0]} first"
            )
    return save_bundle(out, halved.network, classifier.metadata, torch.float16)


def _calibrated(classifier: Classifier, photos: PhotoCache) -> BundleMetadata:
    logits = natural_logits(classifier.network, photos)
    found = accuracy(logits, photos.labels)
    metadata = classifier.metadata
    natural = {"natural_at_100": round(found.at_100, 4), "natural_at_80": round(found.at_80, 4)}
    metrics = {**metadata.metrics, "val": {**metadata.metrics.get("val", {}), **natural}}
    return metadata.model_copy(update={"abstain_below": calibrate(logits, metadata.coverage), "metrics": metrics})
