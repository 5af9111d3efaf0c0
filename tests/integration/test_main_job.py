"""The main job as a user runs it: the demo from end to end, and training on real photos judged on shifted ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from model.photos import find_photos

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PHOTO_RUN = """
epochs = 12
batch_size = 64
input_size = 64
[loss]
epsilon = "2/255"
step_size = "1/255"
perturb_steps = 1
beta = 1
natural_epochs = 11
[spatial]
warmup_epochs = 8
[augment]
jpeg = 0.1
noise = 0.1
[validation]
every_epochs = 6
photos = 60
[architecture]
backbone = "resnet18"
"""


def trades_bob(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trades_bob", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)


def test_the_demo_ends_with_a_report_and_right_answers(tmp_path):
    out = tmp_path / "demo"
    done = trades_bob("demo", "--out", out)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads((out / "demo.json").read_text())
    assert figures["accuracy"] >= 0.9
    assert figures["pictures"] == 160
    page = (out / "index.html").read_text()
    assert page.count("data:image/png") > 24
    assert 'src="http' not in page, "the page is self-contained"
    assert str(out / "index.html") in done.stdout
    results = json.loads((out / "attack" / "results.json").read_text())
    assert {image["status"] for image in results["images"]} <= {
        "adversarial", "robust", "misclassified", "abstained", "failed",
    }  # fmt: skip


def test_training_on_photos_carries_over_to_other_sources(photos, tmp_path):
    """A few minutes on 1,600 real photos: better than 75 % on sources that training never saw, through the bundle."""
    data = tmp_path / "data"
    for split, count in (("train", 1600), ("val", 200)):
        for photo in find_photos(photos / split, limit=count):
            link = data / split / photo.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(photo.path)
    config = tmp_path / "run.toml"
    config.write_text(PHOTO_RUN)
    out = tmp_path / "bundle"
    trained = trades_bob("train", config, "--data", data, "--out", out)
    assert trained.returncode == 0, trained.stderr[-2000:]
    shifted = find_photos(photos / "shifted", limit=200)
    answered = trades_bob("predict", *(photo.path for photo in shifted), "--bundle", out)
    assert answered.returncode == 0, answered.stderr[-2000:]
    labels = dict(line.split("\t") for line in answered.stdout.splitlines())
    assert list(labels) == [str(photo.path) for photo in shifted]
    right, wrong = _counts(labels)
    assert right / (right + wrong) > 0.75
    assert right + wrong > len(labels) / 2, "it must not abstain its way out"


def _counts(labels: dict[str, str]) -> tuple[int, int]:
    answered = {path: label for path, label in labels.items() if label != "abstain"}
    right = sum(Path(path).parent.name == label for path, label in answered.items())
    return right, len(answered) - right


def test_the_demo_spares_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    done = trades_bob("demo", "--out", tmp_path)
    assert done.returncode == 2
    assert "choose another --out" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious.txt"]
