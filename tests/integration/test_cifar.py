"""The recipe `paper-cifar`, with a small network, on a tiny copy of CIFAR-10: it learns and leaves ten classes."""

import subprocess
import sys
import tomllib

import pytest
import torch
from safetensors.torch import load_file

from model.bundle import load_bundle
from model.errors import BundleError
from tests.cifar import CLASSES, write_copy
from tests.runs import figures
from train.config import RECIPES, parse_config
from train.loop import train
from train.splits import open_split

pytestmark = pytest.mark.integration
RUN = tomllib.loads((RECIPES / "paper-cifar.toml").read_text())
SMALL = RUN | {
    "epochs": 12,
    "batch_size": 20,
    "threads": 1,
    "architecture": {"backbone": "wrn_16_1"},
    "loss": RUN["loss"] | {"perturb_steps": 2},
    "optimizer": RUN["optimizer"] | {"decay_epochs": [10]},
    "validation": RUN["validation"] | {"photos": 20, "perturb_steps": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_copy(tmp_path_factory.mktemp("cifar"), 100)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return out, train(parse_config(SMALL, "test"), data, out)


def test_the_recipe_learns_and_its_bundle_tells_ten_classes(finished, data):
    out, validation = finished
    assert validation.natural.at_100 >= 0.6
    assert validation.attacked == 100
    classifier = load_bundle(out, classes=CLASSES)
    val = open_split(data, "val", 32, CLASSES)
    with torch.inference_mode():
        labels = classifier.decide(classifier(val.take(torch.arange(100)).float() / 255))
    assert set(labels) <= {*CLASSES, "abstain"}
    assert labels.count("abstain") == 20
    right = sum(label == CLASSES[truth] for label, truth in zip(labels, val.labels, strict=True))
    assert right == round(0.8 * 100 * validation.natural.at_80)
    assert classifier.metadata.training["data"]["train"]["truck"] == 20
    kept = torch.load(out / "checkpoint.pt", weights_only=True)
    last, released = kept["network"], load_file(out / "model.safetensors")
    assert all(torch.equal(last[name].float(), tensor.float()) for name, tensor in released.items()), "keep = last"
    assert figures(out)[-1]["step"] == 120


def test_commands_for_two_classes_refuse_it_in_a_line(finished, tmp_path):
    with pytest.raises(BundleError, match=r"classes are \['airplane'.*expected \['bicycle', 'bird'\]"):
        load_bundle(finished[0])
    command = [sys.executable, "-m", "trades_bob", "predict", str(tmp_path / "none.png"), "--bundle", str(finished[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "classes are ['airplane'" in done.stderr
