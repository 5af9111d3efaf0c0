"""The weights that ship: whole, of the size that fits, and as good as their bundle says."""

from pathlib import Path

import pytest
import torch

from model.bundle import load_bundle
from model.metadata import read_metadata
from train.cache import open_cache
from train.validation import accuracy, natural_logits

pytestmark = pytest.mark.integration

RELEASE = Path(__file__).resolve().parents[2] / "model" / "release"


def test_the_released_weights_load_and_fit():
    classifier = load_bundle(RELEASE)
    assert classifier.metadata.architecture.backbone == "resnet50"
    assert (RELEASE / "model.safetensors").stat().st_size <= 48e6
    text = (RELEASE / "bundle.json").read_text()
    assert "start_from" in classifier.metadata.training
    assert "/" not in text, "no path of any machine in it"


def test_they_are_as_good_on_val_as_their_bundle_says(photos):
    val = open_cache(photos / "val", read_metadata(RELEASE).input_size)
    classifier = load_bundle(RELEASE)
    logits = natural_logits(classifier, val)
    stated = classifier.metadata.metrics["val"]
    assert accuracy(logits, val.labels).at_100 == pytest.approx(stated["natural_at_100"], abs=0.004)
    assert accuracy(logits, val.labels).at_80 == pytest.approx(stated["natural_at_80"], abs=0.006)
    covered = torch.tensor([label != "abstain" for label in classifier.decide(logits)])
    assert covered.float().mean().item() == pytest.approx(stated["answered"], abs=0.01)
    assert stated["answered"] >= classifier.metadata.coverage, "it answers at least what the contest asks for"
