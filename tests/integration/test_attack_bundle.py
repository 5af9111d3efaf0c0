"""The same attacks on a bundle in this process, and what the commands say to mistakes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attack.campaign import Campaign
from attack.local import LocalOracle
from attack.settings import Settings
from model.architecture import Architecture, PixelClassifier
from model.bundle import BundleMetadata, load_bundle, save_bundle
from model.labels import CLASSES
from tests.toy_endpoint import serving

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A small random network that never abstains."""
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bundle")
    network = PixelClassifier(Architecture(backbone="resnet18"))
    save_bundle(path, network.eval(), BundleMetadata(input_size=32, abstain_below=-1e9))
    return path


@pytest.fixture(scope="module")
def labelled(bundle, tmp_path_factory) -> Path:
    """Noise, filed under what the network says of it, and two files of each class."""
    images, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    levels = rng.integers(0, 256, (200, 1, 1, 3)) + rng.normal(0, 40, (200, 32, 32, 3))
    pixels = levels.clip(0, 255).astype(np.uint8)
    labels = np.array(LocalOracle(bundle).labels(pixels))
    for label in CLASSES:
        (images / label).mkdir()
        for place in np.flatnonzero(labels == label)[:2]:
            Image.fromarray(pixels[place]).save(images / label / f"{place}.png")
    return images


def test_an_oracle_answers_as_the_bundle_does(bundle):
    import torch

    pixels = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    classifier = load_bundle(bundle)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = classifier.decide(classifier(x))
    assert LocalOracle(bundle).labels(pixels) == expected


def test_a_bundle_is_attacked_without_http(bundle, labelled, tmp_path):
    settings = Settings(attack="regression", max_queries=150, spatial="none")
    results = Campaign(LocalOracle(bundle), labelled, settings, tmp_path).run(str(bundle))
    oracle = LocalOracle(bundle)
    found = [image for image in results["images"] if image["status"] == "adversarial"]
    assert found
    assert all(oracle.label_of_file(tmp_path / image["file"]) != image["label"] for image in found)


def _trades_bob(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "trades_bob.py", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--attack", "guess", "--endpoint", "http://x"], "no attack is called 'guess'; there are auto"),
        (["--spatial", "twice", "--endpoint", "http://x"], "--spatial is 'twice'"),
        (["--max-l2", "inf", "--endpoint", "http://x"], "--max-l2 is inf; give a number"),
        ([], "give --endpoint URL or --bundle DIR"),
        (["--endpoint", "nothing.toml"], "nothing.toml: No such file"),
        (["--endpoint", "localhost"], "is no endpoint"),
        (["--endpoint", "http://me:secret@localhost:1"], "the URL of localhost holds a user or password"),
        (["--endpoint", "me:secret@localhost:1"], "trades-bob: 'localhost:1' is no endpoint"),
    ],
)
def test_a_mistake_gets_one_line(words, line, tmp_path):
    done = _trades_bob("attack", "--images", str(tmp_path), "--out", str(tmp_path / "out"), *words)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_predict_prints_path_tab_label(bundle, labelled):
    (first, *_) = sorted((labelled / "bird").iterdir())
    done = _trades_bob("predict", str(first), "--bundle", str(bundle))
    assert (done.returncode, done.stdout) == (0, f"{first}\tbird\n")
    missing = _trades_bob("predict", "none.png", "--bundle", str(bundle))
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


def test_the_threshold_is_part_of_what_answers(bundle, tmp_path):
    """A run does not go on with the same weights that abstain more."""
    other = shutil.copytree(bundle, tmp_path / "other")
    said = json.loads((other / "bundle.json").read_text())
    (other / "bundle.json").write_text(json.dumps(said | {"abstain_below": said["abstain_below"] + 1}))
    assert LocalOracle(bundle).identity != LocalOracle(other).identity == LocalOracle(other).identity


@pytest.mark.parametrize("door", ["--bundle", "--endpoint"])
def test_predict_goes_on_after_a_picture_that_is_none(door, bundle, labelled, tmp_path):
    (good, *_) = sorted((labelled / "bird").iterdir())
    missing, thin, broken = (tmp_path / name for name in ("none.png", "thin.png", "broken.png"))
    Image.new("RGB", (99, 1)).save(thin)
    broken.write_bytes(b"GIF89a")
    with serving(lambda _: ["bird"], 32) as endpoint:
        place = {"--bundle": str(bundle), "--endpoint": endpoint.url}[door]
        done = _trades_bob("predict", *map(str, (missing, good, thin, broken, good)), door, place)
    assert (done.returncode, done.stdout) == (2, f"{good}\tbird\n" * 2)
    starts = [f"trades-bob: {path}" for path in (missing, thin, broken)]
    assert [line[: len(start)] for line, start in zip(done.stderr.splitlines(), starts, strict=True)] == starts
