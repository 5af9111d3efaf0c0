"""A network of the attacker's own guides the label-only attack: in `attack` and in `evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from attack.surrogate import Surrogate
from model.architecture import Architecture, PixelClassifier
from model.bundle import BundleMetadata, load_bundle, save_bundle
from model.errors import BundleError, ConfigError
from trades_bob import app

SIDE = 32
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> list[Path]:
    """Two small random networks of two sides."""
    folders = []
    for seed, side in enumerate((SIDE, 48)):
        torch.manual_seed(seed)
        network = PixelClassifier(Architecture(backbone="resnet18"))
        folders.append(tmp_path_factory.mktemp(f"bundle{seed}"))
        save_bundle(folders[-1], network.eval(), BundleMetadata(input_size=side, abstain_below=-1e9))
    return folders


def picture(side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).uniform(40, 215, 3 * side * side).astype(np.float32)


def margin(bundle: Path, point: np.ndarray) -> float:
    """Bird over bicycle, in float64."""
    x = torch.from_numpy(point).double().view(1, SIDE, SIDE, 3).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        bicycle, bird = load_bundle(bundle).double()(x)[0].tolist()
    return bird - bicycle


@pytest.mark.parametrize("label", [0, 1])
def test_the_gradient_points_where_the_other_class_gains(bundles, label):
    point, step = picture(), 1e-3
    ascent = Surrogate(bundles[:1]).against(label, SIDE)(point).astype(np.float64)
    assert np.linalg.norm(ascent) == pytest.approx(1, rel=1e-4)
    ends = (point.astype(np.float64) + sign * step * ascent for sign in (1, -1))
    after, before = (margin(bundles[0], end) for end in ends)
    gained = (after - before) if label == 0 else (before - after)
    x = torch.from_numpy(point).double().view(1, SIDE, SIDE, 3).permute(0, 3, 1, 2).div(255).requires_grad_(True)
    logits = load_bundle(bundles[0]).double()(x)[0]
    (exact,) = torch.autograd.grad(logits[1] - logits[0], x)
    steepest = float(exact.norm()) / 255 * 2 * step
    assert gained > 0.9 * steepest  # gradients may be taken in bfloat16


def test_several_networks_of_several_sides_add_their_unit_gradients(bundles):
    point = picture()
    alone = [Surrogate([bundle]).against(0, SIDE)(point) for bundle in bundles]
    both = Surrogate(bundles).against(0, SIDE)(point)
    assert both.shape == point.shape
    np.testing.assert_allclose(both, alone[0] + alone[1], atol=1e-6)
    assert abs(float(alone[0] @ alone[1])) < 0.9


def test_a_network_sees_the_picture_at_its_own_side(bundles):
    point = picture()
    x = torch.from_numpy(point).view(1, SIDE, SIDE, 3).permute(0, 3, 1, 2).div(255).requires_grad_(True)
    logits = load_bundle(bundles[1])(torch.nn.functional.interpolate(x, (48, 48), mode="bilinear"))[0]
    (exact,) = torch.autograd.grad(logits[1] - logits[0], x)
    exact = exact.permute(0, 2, 3, 1).reshape(-1).numpy()
    ascent = Surrogate(bundles[1:]).against(0, SIDE)(point)
    assert float(ascent @ exact) / np.linalg.norm(exact) > 0.95  # gradients may be taken in bfloat16


def test_the_same_picture_gives_the_same_bits(bundles):
    gradient = Surrogate(bundles).against(1, SIDE)
    np.testing.assert_array_equal(gradient(picture()), gradient(picture()))


def results_of(bundle: Path, images: Path, out: Path, *more: str) -> dict:
    arguments = ["attack", "--bundle", str(bundle), "--images", str(images), "--out", str(out), "--spatial", "none"]
    app([*arguments, "--max-queries", "60", *more], standalone_mode=False)
    results: dict = json.loads((out / "results.json").read_text())
    return results


@pytest.fixture(scope="module")
def two_sided(bundles, tiny_photos) -> Path:
    """The first network, its answers evened out: it takes half of the photos for each class."""
    from model.photos import find_photos
    from model.pixels import load_square

    classifier = load_bundle(bundles[0])
    pixels = np.stack([load_square(photo.path, SIDE) for photo in find_photos(tiny_photos / "val")])
    with torch.no_grad():
        bicycle, bird = classifier(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).T
        classifier.network.backbone.fc.bias[1] += (bicycle - bird).median()
    save_bundle(bundles[0] / "even", classifier.network, classifier.metadata)
    return bundles[0] / "even"


def test_who_has_the_network_itself_needs_few_queries(two_sided, tiny_photos, tmp_path):
    images = tiny_photos / "val"
    alone = results_of(two_sided, images, tmp_path / "alone")
    guided = results_of(two_sided, images, tmp_path / "guided", "--surrogate", str(two_sided))
    weights = load_bundle(two_sided).metadata.weights_sha256
    assert guided["parameters"]["surrogates"] == [weights]
    assert weights in (tmp_path / "guided" / "index.html").read_text()
    distances = [[image["best_l2"] for image in results["images"] if image["best_l2"]] for results in (alone, guided)]
    assert len(distances[0]) == len(distances[1]) > 0
    assert np.median(distances[1]) < 0.5 * np.median(distances[0])


def test_a_run_goes_on_with_the_same_surrogate_alone(two_sided, bundles, tiny_photos, tmp_path):
    images, own = tiny_photos / "val", ["--surrogate", str(bundles[1])]
    own += ["--limit", "2"]
    whole = results_of(two_sided, images, tmp_path / "whole", *own)
    journal = tmp_path / "cut" / "journal.jsonl"
    results_of(two_sided, images, tmp_path / "cut", *own)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    with pytest.raises(ConfigError, match="settings"):
        results_of(two_sided, images, tmp_path / "cut", "--limit", "2", "--resume")
    resumed = results_of(two_sided, images, tmp_path / "cut", *own, "--resume")
    assert resumed["images"] == whole["images"]


def test_a_surrogate_without_use_or_weights_is_one_line(bundles, tiny_photos, tmp_path):
    with pytest.raises(ConfigError, match="--surrogate is of no use to --attack boundary; it is for auto"):
        results_of(bundles[0], tiny_photos / "val", tmp_path, "--attack", "boundary", "--surrogate", str(bundles[1]))
    with pytest.raises(BundleError, match=r"bundle\.json"):
        results_of(bundles[0], tiny_photos / "val", tmp_path, "--surrogate", str(tmp_path))
    arguments = ["evaluate", "--bundle", str(bundles[0]), "--images", str(tiny_photos / "val"), "--out", str(tmp_path)]
    with pytest.raises(ConfigError, match=r"--surrogate guides label-only, .*; none of them is among the rows"):
        app([*arguments, "--attacks", "clean", "--surrogate", str(bundles[1])], standalone_mode=False)
    assert not list(tmp_path.iterdir())


def test_an_evaluation_says_what_guided_it_and_repeats_it(two_sided, bundles, tiny_photos, tmp_path, capsys):
    arguments = ["evaluate", "--bundle", str(two_sided), "--images", str(tiny_photos / "val"), "--out", str(tmp_path)]
    arguments += ["--attacks", "clean:2,label-only:6"]
    app(arguments, standalone_mode=False)
    alone = json.loads((tmp_path / "report.json").read_text())
    app([*arguments, "--surrogate", str(bundles[1])], standalone_mode=False)
    report = json.loads((tmp_path / "report.json").read_text())
    weights = load_bundle(bundles[1]).metadata.weights_sha256
    clean, walk, _ = report["attacks"]
    assert report["surrogates"] == walk["parameters"]["surrogates"] == [weights]
    assert report["walks"] != alone["walks"]
    assert walk["title"].endswith(", with a surrogate")
    assert "surrogate" not in clean["title"]
    assert "surrogates" not in clean["parameters"]
    assert f"--surrogate {bundles[1]}" in (tmp_path / "index.html").read_text()
    app(["evaluate", "--from", str(tmp_path / "report.json"), "--out", str(tmp_path / "again")], standalone_mode=False)
    assert "equal to the earlier table" in capsys.readouterr().out
