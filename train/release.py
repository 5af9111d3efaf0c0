"""A run's bundle made fit to ship: averaged with others, calibrated, half the bytes, the same labels."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from attack.transforms.corruptions import KIT_CORRUPTIONS, corrupt
from attack.transforms.pixels import brought_to
from attack.transforms.spatial import KIT_SIZE
from model.bundle import Classifier, load_bundle, save_bundle
from model.console import progress
from model.decision import calibrate, confidence
from model.errors import BundleError, ConfigError, DataError
from model.metadata import BundleMetadata, read_metadata
from train.cache import open_cache
from train.checkpoint import FILE as CHECKPOINT_FILE
from train.folder import LOCK_FILE
from train.validation import accuracy, natural_logits, network_logits

BATCH = 50


def release(
    bundle: Path, photos: list[Path], out: Path, calibrate_on: Path | None = None, average_with: Sequence[Path] = ()
) -> BundleMetadata:
    """Write the bundle to `out` with float16 weights, and check that every label on `photos` stays.

    photos: folders with bicycle/ and bird/. calibrate_on: such a folder too; the accuracies on natural photos are taken
    anew from it, and a threshold that answers the promised share of each class under each of the challenge's 17
    corruptions: photos of other sources are answered less often than those that calibrated. average_with: bundles of
    runs with the same start, whose weights are averaged with this one's; it needs `calibrate_on`. The weights are
    float32 again once loaded. Raises DataError, and leaves nothing in `out`, when a label changes; at once when `out`
    cannot be written to, holds a training run or is one of the bundles that go into the release.
    """
    _refuse_unfit(out, (bundle, *average_with))
    classifier = averaged(bundle, average_with) if average_with else load_bundle(bundle)
    halved = copy.deepcopy(classifier)
    _halve(halved)
    if calibrate_on is not None:
        classifier.metadata = halved.metadata = _calibrated(halved, calibrate_on)
    elif average_with:
        raise ConfigError("averaged weights need a threshold of their own: give --calibrate PHOTOS/val")
    for folder in photos:
        cache = open_cache(folder, classifier.input_size)
        before, after = (model.decide(natural_logits(model, cache)) for model in (classifier, halved))
        changed = [name for name, old, new in zip(cache.names, before, after, strict=True) if old != new]
        if changed:
            raise DataError(
                f"{folder}: half precision changes {len(changed)} of {len(cache)} labels, {changed[0]} first"
            )
    return save_bundle(out, halved.network, classifier.metadata, torch.float16)


def _refuse_unfit(out: Path, sources: Sequence[Path]) -> None:
    """Now, not after the measuring, which takes minutes. What a run holds cannot be had again; an older bundle can."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise DataError(f"{there}: no folder that can be written to; choose another --out")
    if any((out / name).exists() for name in (CHECKPOINT_FILE, LOCK_FILE)):
        raise DataError(f"{out}: holds a training run, which a release would write over; choose another --out")
    if any(os.path.realpath(out) == os.path.realpath(source) for source in sources):
        raise DataError(f"{out}: its weights go into the release, which would write over them; choose another --out")


def averaged(bundle: Path, others: Sequence[Path]) -> Classifier:
    """The mean of the weights of runs that had the same start (Wortsman et al. 2022, a uniform soup).

    The statistics of batch norms are averaged as the weights are. The mean is rounded to half precision at once, before
    its threshold is set: a photo that lies at the threshold itself then keeps its label when it is stored. What the
    first run measured does not hold for the mean and is left out. Raises BundleError for a bundle of another network,
    size or classes.
    """
    classifier = load_bundle(bundle)
    mean = classifier.state_dict()
    for n_before, path in enumerate(others, start=1):
        other = load_bundle(path)
        for key in ("architecture", "input_size"):
            if getattr(other.metadata, key) != getattr(classifier.metadata, key):
                raise BundleError(f"{path}: its {key} is not that of {bundle}; only weights of one network average")
        for name, tensor in other.state_dict().items():
            if tensor.is_floating_point():
                mean[name].lerp_(tensor, 1 / (n_before + 1))
    _halve(classifier)
    parts = [read_metadata(path).weights_sha256 for path in (bundle, *others)]
    training = classifier.metadata.training | {"averaged": parts}
    classifier.metadata = classifier.metadata.model_copy(update={"training": training, "metrics": {}})
    return classifier


def _halve(classifier: Classifier) -> None:
    for tensor in classifier.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())


def _calibrated(classifier: Classifier, folder: Path) -> BundleMetadata:
    metadata = classifier.metadata
    photos = open_cache(folder, classifier.input_size)
    logits = natural_logits(classifier.network, photos)
    of_corrupted = _corrupted_threshold(classifier, folder)
    threshold = min(_threshold(logits, photos.labels, metadata.coverage), of_corrupted)
    found = accuracy(logits, photos.labels)
    figures = {
        "natural_at_100": found.at_100,
        "natural_at_80": found.at_80,
        "answered": (confidence(logits) >= threshold).float().mean().item(),
    }
    before = metadata.metrics.get("val")  # whatever somebody wrote there
    val = (before if isinstance(before, dict) else {}) | {name: round(value, 4) for name, value in figures.items()}
    return metadata.model_copy(update={"abstain_below": threshold, "metrics": metadata.metrics | {"val": val}})


def _corrupted_threshold(classifier: Classifier, folder: Path) -> float:
    """The least of the thresholds that cover the promised share of each class under one corruption of severity 1."""
    photos = open_cache(folder, KIT_SIZE)  # corruptions are defined at this size
    logits: list[list[Tensor]] = [[] for _ in KIT_CORRUPTIONS]
    with progress("calibrating under corruptions", len(photos)) as report:
        for indices in torch.split(torch.arange(len(photos)), BATCH):
            x = photos.take(indices).float() / 255
            for name, found in zip(KIT_CORRUPTIONS, logits, strict=True):
                corrupted = corrupt(x, name, 1, seeds=indices.tolist())
                found.append(network_logits(classifier.network, brought_to(corrupted, classifier.input_size)))
            report(int(indices[-1]) + 1)
    return min(_threshold(torch.cat(found), photos.labels, classifier.metadata.coverage) for found in logits)


def _threshold(logits: Tensor, labels: Tensor, coverage: float) -> float:
    """Covers the share of each class: whoever asks may bring one class alone."""
    return min(calibrate(logits[labels == label], coverage) for label in set(labels.tolist()))
