"""`trades-bob data synthesize`: whole folders, with processes of its own, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import DataError
from model.vision import torchvision
from train.synthetic import render, synthesize
from train.synthetic.writer import picture_seed

pytestmark = pytest.mark.integration


def _command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "trades_bob", "data", "synthesize", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_folder_that_image_folder_reads(tmp_path: Path) -> None:
    left_over = tmp_path / "set.partial" / "bird"
    left_over.mkdir(parents=True)
    (left_over / "00009.png").write_bytes(b"half a picture")
    done = _command("--out", str(tmp_path / "set"), "--per-class", "3", "--size", "40", "--seed", "7")
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "set")), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    pictures = torchvision.datasets.ImageFolder(str(tmp_path / "set"))
    assert pictures.classes == ["bicycle", "bird"]
    assert [label for _, label in pictures.samples] == [0, 0, 0, 1, 1, 1]
    for path, label in pictures.samples:
        index = int(Path(path).stem)
        assert np.array_equal(np.asarray(Image.open(path)), render(label, picture_seed(7, label, index), 40))


def test_the_folder_in_which_one_stands_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays the same folder, or the shell there would see an empty one; its name is no part of `.`."""
    out = tmp_path / "set"
    out.mkdir()
    monkeypatch.chdir(out)
    synthesize(Path(), 1, 32)
    assert sorted(path.name for path in Path().iterdir()) == ["bicycle", "bird"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    synthesize(out, 1, 32)
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    assert len(before) == 2
    refused = _command("--out", str(out), "--per-class", "1")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "not empty" in refused.stderr
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before


@pytest.mark.parametrize(
    ("per_class", "size", "seed", "names"),
    [(0, 64, 0, "--per-class"), (1, 31, 0, "--size"), (1, 1025, 0, "--size"), (1, 64, -1, "--seed")],
)
def test_numbers_out_of_range_are_named(tmp_path: Path, per_class: int, size: int, seed: int, names: str) -> None:
    with pytest.raises(DataError, match=names):
        synthesize(tmp_path / "set", per_class, size, seed)
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_users_is_removed(tmp_path: Path) -> None:
    mine = tmp_path / "set.partial" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("keep")
    with pytest.raises(DataError, match="in the way"):
        synthesize(tmp_path / "set", 1, 32)
    assert mine.read_text() == "keep"
    (tmp_path / "file").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        synthesize(tmp_path / "file", 1, 32)
    with pytest.raises(DataError, match="cannot write"):
        synthesize(tmp_path / "file" / "below", 1, 32)


@pytest.mark.slow
def test_global_statistics_do_not_tell_the_classes_apart() -> None:
    """Logistic regression on colour histograms, means and sharpness of 400 pictures: below 65 % on held-out folds."""
    pictures = [render(label, picture_seed(0, label, index), 96) for index in range(200) for label in (0, 1)]
    labels = np.tile([0, 1], 200)
    features = np.array([_statistics(pixels) for pixels in pictures])
    assert _cross_validated(features, labels) < 0.65
    told = np.column_stack([features, labels + np.random.default_rng(1).normal(0, 0.4, 400)])
    assert _cross_validated(told, labels) > 0.8  # the probe finds a difference where there is one


def _statistics(pixels: np.ndarray) -> np.ndarray:
    histogram = [np.histogram(pixels[..., c], 8, (0, 256))[0] / pixels[..., c].size for c in range(3)]
    grey = pixels.mean(axis=2)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return np.concatenate([*histogram, pixels.mean(axis=(0, 1)), [laplacian.var(), np.log1p(laplacian.var())]])


def _cross_validated(features: np.ndarray, labels: np.ndarray, folds: int = 10) -> float:
    """Held-out accuracy of a logistic regression (Newton, L2 penalty 1), features standardised."""
    z = np.column_stack([(features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9), np.ones(len(labels))])
    fold = np.arange(len(labels)) // 2 % folds
    right = [
        ((z[fold == k] @ _logistic(z[fold != k], labels[fold != k]) > 0) == labels[fold == k]) for k in range(folds)
    ]
    return float(np.concatenate(right).mean())


def _logistic(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    weights = np.zeros(z.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ weights))
        curvature = (z * (p * (1 - p))[:, None]).T @ z + np.eye(len(weights))
        weights -= np.linalg.solve(curvature, z.T @ (p - labels) + weights)
    return weights
