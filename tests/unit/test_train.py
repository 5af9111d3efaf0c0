"""The parts of the trainer: cache, batches, augmentation, maps, schedule, average, validation, configuration."""

import fcntl
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from kornia.geometry.transform import get_rotation_matrix2d, warp_affine
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from attack.transforms.spatial import SpatialRange, apply_maps, draw_maps, draw_scales
from model.errors import ConfigError, DataError
from train.augment import _cloud, _haze, _motion, augment
from train.average import WeightAverage
from train.batches import Batches
from train.cache import _partial_file, _remove_left_overs, open_cache
from train.config import RECIPES, AugmentConfig, parse_config, read_config
from train.randomness import generator_of
from train.schedule import phase_at
from train.validation import accuracy, natural_logits
from train.views import random_view, worst_view

pytestmark = pytest.mark.unit


def test_cache_gives_the_photos_and_notices_a_new_one(tiny_photos, tmp_path):
    folder = shutil.copytree(tiny_photos / "train", tmp_path / "train")
    cache = open_cache(folder, 32)
    assert len(cache) == 32
    pixels = cache.take(torch.tensor([3, 20]))
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert pixels[0].float().mean((1, 2)).argmax() == 2, "a bicycle is blue here"
    assert pixels[1].float().mean((1, 2)).argmax() == 0
    Image.new("RGB", (32, 32)).save(folder / "bird" / "new.png")
    again = open_cache(folder, 32)
    assert len(again) == 33
    assert again.digest != cache.digest


NO_INDEX = ["{}", "[]", "null", '{"digest": 3, "names": []}', "[" * 10_000]


@pytest.mark.parametrize("damage", ["missing pixels", "fewer pixels", "no index", "half an index", *NO_INDEX])
def test_a_cache_that_is_not_whole_is_made_anew(damage, tiny_photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADES_BOB_CACHE", str(tmp_path))
    cache = open_cache(tiny_photos / "train", 32)
    expected, (index,) = cache.take(torch.arange(32)), tmp_path.glob("*.json")
    if damage == "missing pixels":
        cache.file.unlink()
    elif damage == "fewer pixels":
        os.truncate(cache.file, cache.nbytes - 1)
    elif damage == "no index":
        index.unlink()
    elif damage == "half an index":
        os.truncate(index, 20)
    else:
        index.write_text(damage)
    again = open_cache(tiny_photos / "train", 32)
    assert torch.equal(again.take(torch.arange(32)), expected)
    assert (again.digest, again.names) == (cache.digest, cache.names)


@pytest.mark.parametrize(
    "spoilt",
    [{"digest": None}, {"names": ["a", 3] * 16}, {"labels": [0]}, {"labels": [0.5] * 32}, {"left_out": []}],
    ids=["digest", "name", "number of labels", "label", "left out"],
)
def test_an_index_of_other_types_is_made_anew(spoilt, tiny_photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADES_BOB_CACHE", str(tmp_path))
    cache, (index,) = open_cache(tiny_photos / "train", 32), tmp_path.glob("*.json")
    index.write_text(json.dumps(json.loads(index.read_text()) | spoilt))
    again = open_cache(tiny_photos / "train", 32)
    assert (again.digest, again.names, again.labels.tolist()) == (cache.digest, cache.names, cache.labels.tolist())


def test_a_whole_cache_is_not_decoded_again(tiny_photos, monkeypatch):
    open_cache(tiny_photos / "train", 32)
    monkeypatch.setattr("train.cache.load_square", None)
    assert len(open_cache(tiny_photos / "train", 32)) == 32


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tiny_photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADES_BOB_CACHE", str(tmp_path))
    (tmp_path / "other-64.1.partial").write_bytes(b"the kernel lets go of a dead process's lock")
    with _partial_file(tmp_path / "other-64") as living:
        open_cache(tiny_photos / "train", 32)
        assert list(tmp_path.glob("*.partial")) == [Path(living.name)]
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_that_is_taken_for_a_left_over_before_it_is_locked_is_begun_anew(tiny_photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADES_BOB_CACHE", str(tmp_path))
    real, calls = fcntl.flock, iter(range(10))

    def late(*arguments: int) -> None:
        if next(calls) == 0:
            _remove_left_overs(tmp_path)
        real(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    assert len(open_cache(tiny_photos / "train", 32)) == 32
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".u8"]


def test_two_that_build_the_same_cache_at_once_do_not_meet(tiny_photos, tmp_path, monkeypatch):
    """Threads stand for processes of two containers, whose ids may be equal; each is decoding while the other is."""
    monkeypatch.setenv("TRADES_BOB_CACHE", str(tmp_path))
    both = Barrier(2)

    def remove_left_overs(folder: Path) -> None:
        _remove_left_overs(folder)
        both.wait(60)

    monkeypatch.setattr("train.cache._remove_left_overs", remove_left_overs)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: open_cache(tiny_photos / "train", 32), range(2))
    assert torch.equal(one.take(torch.arange(32)), two.take(torch.arange(32)))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".u8"]


def test_a_corrupt_photo_is_named_and_left_out(tiny_photos, tmp_path, capfd):
    folder = shutil.copytree(tiny_photos / "train", tmp_path / "train")
    (folder / "bird" / "005.png").write_bytes(b"no picture")
    cache = open_cache(folder, 32)
    assert len(cache) == 31
    assert "bird/005.png" not in cache.names
    assert "005.png" in capfd.readouterr().err


def test_missing_class_is_named(tiny_photos, tmp_path):
    folder = shutil.copytree(tiny_photos / "train", tmp_path / "train")
    shutil.rmtree(folder / "bird")
    with pytest.raises(DataError, match="bird: no such folder"):
        open_cache(folder, 32)


def test_validation_takes_few_large_photos_at_once_and_classifies_all(tiny_photos):
    cache, taken = open_cache(tiny_photos / "val", 224), []

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(2))

        def forward(self, x):
            taken.append(len(x))
            return x.mean(dim=(1, 2, 3))[:, None] * self.scale

    logits = natural_logits(Network(), cache)
    assert sum(taken) == len(cache)
    assert max(taken) == 4  # 200,704 of the 204,800 pixels
    assert (logits > 0).all()


def test_batches_are_balanced_repeatable_and_cover_every_photo():
    labels = torch.tensor([0] * 10 + [1] * 30)
    batches = Batches(labels, 8, seed=5)
    steps = [batches.at(step) for step in range(20)]
    assert all((labels[indices].view(-1, 2) == torch.tensor([0, 1])).all() for indices in steps)
    birds = torch.cat(steps)[1::2]
    assert sorted(birds[:30].tolist()) == list(range(10, 40)), "every bird once before any comes again"
    assert torch.equal(Batches(labels, 8, seed=5).at(13), steps[13])
    assert not torch.equal(Batches(labels, 8, seed=6).at(13), steps[13])


def test_batches_that_are_not_balanced_hold_what_the_folder_holds():
    labels = torch.tensor([0] * 10 + [1] * 30)
    batches = Batches(labels, 8, seed=5, balanced=False)
    assert sorted(torch.cat([batches.at(step) for step in range(5)]).tolist()) == list(range(40))
    shares = [int(labels[batches.at(step)].sum()) for step in range(20)]
    assert sum(shares) == 4 * 30
    assert len(set(shares)) > 1


def test_augmentation_is_bounded_repeatable_and_varied():
    photos = torch.randint(0, 256, (16, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first = augment(photos, 32, AugmentConfig(), generator_of(0, 1))
    assert first.shape == (16, 3, 32, 32)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, augment(photos, 32, AugmentConfig(), generator_of(0, 1)))
    assert not torch.equal(first, augment(photos, 32, AugmentConfig(), generator_of(0, 2)))
    nothing = AugmentConfig(
        flip=False,
        crop_scale=1,
        brightness=0,
        contrast=0,
        saturation=0,
        grey=0,
        resolution=0,
        jpeg=0,
        noise=0,
        backdrop=0,
        haze=0,
    )
    torch.testing.assert_close(augment(photos, 40, nothing, generator_of(0, 1)), photos / 255, atol=1e-5, rtol=0)


def test_a_cloud_goes_from_nought_to_one_and_haze_takes_contrast():
    x = torch.rand(6, 3, 48, 48)
    clouds = _cloud(x, generator_of(0, 2))
    assert clouds.shape == (6, 1, 48, 48)
    assert clouds.amin(dim=(1, 2, 3)).tolist() == [0] * 6
    assert clouds.amax(dim=(1, 2, 3)).tolist() == [1] * 6
    assert torch.equal(_haze(x, 0, generator_of(0, 3)), x)
    hazed = _haze(x, 1, generator_of(0, 3))
    assert (hazed.std(dim=(1, 2, 3)) < x.std(dim=(1, 2, 3))).all()
    assert hazed.std(dim=(1, 2, 3)).amin() > x.std() / 4


def test_a_sheared_crop_keeps_its_middle_and_moves_its_corners():
    ramp = torch.arange(64, dtype=torch.uint8).expand(32, 3, 64, 64) * 2
    plain = dict.fromkeys(("brightness", "contrast", "saturation", "grey", "resolution", "jpeg", "noise"), 0)
    still = AugmentConfig(flip=False, crop_scale=1, backdrop=0, haze=0, **plain)
    same, sheared = (
        augment(ramp, 64, still.model_copy(update={"shear": most}), generator_of(0, 1)) for most in (0.0, 0.2)
    )
    change = (sheared - same).abs()
    assert change[:, :, 31:33, 31:33].max() < 0.01
    corners = change[:, 0, 0, 0] * 255 / 2 / 32  # of half a side
    assert 0.2 < corners.max() <= 0.4, "both entries of the row change by up to 0.2"
    assert corners.std() > 0.05


def test_motion_smears_the_chosen_photos_and_keeps_their_light():
    x = torch.zeros(8, 1, 65, 65)
    x[:, :, 22:43, 22:43] = 1.0
    assert torch.equal(_motion(x, 0, generator_of(0, 3)), x)
    smeared = _motion(x, 1, generator_of(0, 3))
    torch.testing.assert_close(smeared.sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3)), rtol=0.02, atol=0)
    soft = ((smeared > 0.05) & (smeared < 0.95)).sum(dim=(1, 2, 3))
    assert (soft > 0).all()
    assert len(soft.unique()) > 1, "each photo along its own line"
    half = _motion(x[:1].expand(400, 1, 65, 65), 0.5, generator_of(0, 4))
    assert 140 < (half == x[0]).flatten(1).all(dim=1).sum() < 260


def test_maps_move_and_turn_as_they_say():
    x = torch.zeros(1, 1, 65, 65, dtype=torch.float64)
    x[0, 0, 32, 42] = 1.0
    shifted = apply_maps(x, torch.tensor([[0.0, 4 / 65, -8 / 65]]), 1.0)
    assert shifted[0, 0, 24, 46] == pytest.approx(1)
    turned = apply_maps(x, torch.tensor([[90.0, 0.0, 0.0]]), 1.0)
    assert turned[0, 0, 22, 32] == pytest.approx(1), "a positive angle turns counterclockwise"
    shrunk = apply_maps(torch.ones_like(x), torch.zeros(1, 3), 0.5)
    assert shrunk[0, 0, 32, 32] == pytest.approx(1)
    assert shrunk[0, 0, 32, 10] == 0, "black outside"


@pytest.mark.parametrize("shape", [(4, 3, 48, 48), (4, 1, 40, 64)])
def test_maps_are_those_of_kornia(shape):
    n, _, height, width = shape
    x = torch.rand(shape, dtype=torch.float64, generator=generator_of(3))
    span = SpatialRange(least_scale=0.6)
    maps = draw_maps(n, span, generator_of(4), dtype=torch.float64)
    scales = draw_scales(n, span, generator_of(5)).double()
    centre = torch.tensor([[(width - 1) / 2, (height - 1) / 2]], dtype=torch.float64).expand(n, 2)
    matrices = get_rotation_matrix2d(centre, maps[:, 0], scales[:, None].expand(n, 2))
    matrices[:, :, 2] += maps[:, 1:] * torch.tensor([width, height])
    theirs = warp_affine(x, matrices, (height, width), padding_mode="zeros", align_corners=True)
    torch.testing.assert_close(apply_maps(x, maps, scales), theirs, rtol=0, atol=1e-12)


class HostConstants(TorchDispatchMode):
    """Counts tensors made of Python numbers, and numbers read back: on a GPU each would wait for it."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function.overloadpacket.__name__ in ("lift_fresh", "_local_scalar_dense")
        return function(*args, **(kwargs or {}))


def test_views_do_not_wait_for_the_device():
    with HostConstants() as seen:
        float(torch.tensor([1.0]))
        assert seen.count == 2, "one of each is seen"
        seen.count = 0
        random_view(torch.rand(2, 3, 32, 32), SpatialRange(least_scale=0.6), generator_of(6))
    assert seen.count == 0


def test_maps_stay_in_their_span():
    maps = draw_maps(2000, SpatialRange(), generator_of(1))
    assert maps[:, 0].abs().max() <= 30
    assert maps[:, 0].abs().max() > 29
    assert maps[:, 1:].abs().max() <= 18 / 224
    assert SpatialRange().scaled(0) == SpatialRange(0, 0, 1)
    scales = draw_scales(2000, SpatialRange(scale=0.9, least_scale=0.6).scaled(0.5), generator_of(1))
    assert scales.min() == pytest.approx(0.8, abs=0.01)
    assert scales.max() == pytest.approx(0.95, abs=0.01)


def test_worst_view_is_worse_than_a_random_one():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    x = torch.rand(8, 3, 32, 32)

    def disagreement(k: int) -> float:
        view = worst_view(network, x, network(x).log_softmax(1), SpatialRange(), k, generator_of(0))
        p, q = network(x).log_softmax(1), network(view).log_softmax(1)
        return (p.exp() * (p - q)).sum().item()

    assert disagreement(20) > disagreement(1)


def test_schedule_starts_easy_and_reaches_full_strength():
    config = parse_config(
        {
            "epochs": 10,
            "loss": {"natural_epochs": 2, "epsilon_warmup_epochs": 4, "epsilon": "16/255", "step_size": "8/255"},
            "spatial": {"warmup_epochs": 2},
        },
        "test",
    )
    assert phase_at(config, 1).epsilon == 0
    assert phase_at(config, 1).spatial_share == pytest.approx(0.5)
    assert phase_at(config, 4).epsilon == pytest.approx(8 / 255)
    assert phase_at(config, 4).step_size == pytest.approx(4 / 255)
    assert phase_at(config, 7).epsilon == pytest.approx(16 / 255)
    rates = [phase_at(config, epoch / 10).learning_rate for epoch in range(100)]
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates[99] < 1e-5


def test_one_cycle_rises_over_a_quarter_and_falls_as_a_cosine():
    config = parse_config({"epochs": 8, "optimizer": {"schedule": "one_cycle", "learning_rate": 1}}, "test")
    rates = [phase_at(config, epoch).learning_rate for epoch in (0.5, 1, 2, 3.5, 5, 7.999)]
    assert rates == pytest.approx([0.25, 0.5, 1, 0.8536, 0.5, 0], abs=1e-4)


def test_average_follows_the_weights_and_forgets_the_start():
    network = torch.nn.Linear(2, 2)
    average = WeightAverage(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(1.0)
    for step in range(200):
        average.update(network, step)
    torch.testing.assert_close(average.network.weight, torch.ones(2, 2), atol=1e-4, rtol=0)


def steps(*decay_epochs: float) -> dict[str, Any]:
    return {"epochs": 9, "optimizer": {"schedule": "steps", "decay_epochs": decay_epochs}}


def test_accuracy_at_80_leaves_out_the_least_confident():
    logits = torch.tensor([[3.0, 0], [0, 4.0], [5.0, 0], [0, 2.0], [1.0, 0]])
    y = torch.tensor([0, 1, 0, 1, 1])  # the last is wrong, and the least confident
    assert accuracy(logits, y).at_100 == pytest.approx(0.8)
    assert accuracy(logits, y).at_80 == 1.0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"epochs": 1, "looss": {}}, "looss: unknown key"),
        ({"epochs": 1, "loss": {"epsilon": 8}}, 'loss: epsilon = 8 is out of range: pixels lie in .* "8/255"'),
        ({"epochs": 1, "loss": {"epsilon": "eight"}}, "loss.epsilon: 'eight' is neither a number nor a ratio"),
        ({"epochs": -1}, "epochs: "),
        ({}, "epochs: Field required"),
        ({"epochs": 1, "batch_size": 2, "classes": ["a", "b", "c"]}, "batch_size = 2 is smaller than the 3 classes"),
        (
            {"epochs": 1, "input_size": 32, "loss": {"distance": "l_2", "epsilon": 128}},
            "loss.epsilon = 128 is out of range",
        ),
        ({"epochs": 3, "loss": {"natural_epochs": 2, "epsilon_warmup_epochs": 1}}, "= 3 must be less than epochs = 3"),
        ({"epochs": 1, "spatial": {"warmup_epochs": 2}}, "spatial.warmup_epochs = 2 must be less than epochs = 1"),
        ({"epochs": 3, "optimizer": {"warmup_epochs": 3}}, "optimizer.warmup_epochs = 3 must be less than epochs = 3"),
        (steps(2, 9), "optimizer.decay_epochs = 9 must be less than epochs = 9"),
        (steps(-1, 2), "optimizer.decay_epochs.0: "),
        (steps(), r'optimizer: schedule = "steps" with decay_epochs = \[\]: "steps" needs some'),
        ({"epochs": 9, "optimizer": {"decay_epochs": [2]}}, r'schedule = "cosine" with decay_epochs = \[2.0\]: '),
        ({"epochs": 1, "optimizer": {"learning_rate": 1e-300}}, "optimizer.learning_rate: "),
        ({"epochs": 1, "optimizer": {"clip_norm": 1e-300}}, "optimizer.clip_norm: "),
        ({"epochs": 1, "validation": {"perturb_steps": 10**9}}, "validation.perturb_steps: "),
        ({"epochs": 1, "cache_size": 200}, "cache_size = 200 is smaller than input_size = 224"),
        ({"epochs": 1, "classes": ["abstain", "bird"]}, "classes: 'abstain' cannot name"),
        ({"epochs": 1, "classes": ["../x", "bird"]}, "classes: '../x' cannot name"),
        ({"epochs": 1, "seed": 10**30}, "seed: "),
        ({"epochs": 1e308}, "epochs: "),
        ({"epochs": 1, "threads": 100_000}, "threads: "),
        ({"epochs": 1, "batch_size": 10**13}, "batch_size: "),
        ({"epochs": 1, "validation": {"every_epochs": 1e308}}, "validation.every_epochs: "),
        ({"epochs": 1, "classes": ["bird", "bird"]}, "classes names one twice"),
        ({"epochs": 1, "augment": {"resolution_min": 0.01}}, "augment.resolution_min: "),
        ({"epochs": 1, "augment": {"grey": True}}, "augment.grey: Input should be a valid number"),
        ({"epochs": 1, "augment": {"flip": "off"}}, "augment.flip: Input should be a valid boolean"),
        ({"epochs": 1, "loss": {"epsilon": True}}, "loss.epsilon: Input should be a valid number"),
        ({"epochs": 1, "architecture": {"light_removed": True}}, "architecture.light_removed: Input should be a valid"),
        ({"epochs": 1, "seed": True}, "seed: Input should be a valid integer"),
        ({"epochs": 1, "class_balanced": 0}, "class_balanced: Input should be a valid boolean"),
        ({"epochs": "2"}, "epochs: Input should be a valid number"),
        ({"epochs": 1, "batch_size": 8.0}, "batch_size: Input should be a valid integer"),
        ({"epochs": 1, "optimizer": {"decay_epochs": ["1"]}}, "optimizer.decay_epochs.0: Input should be a valid"),
        ({"epochs": 1, "seed": date(2020, 1, 1)}, "seed: Input should be a valid integer"),
        ({"epochs": 1, "start_from": "a\0b"}, r"start_from: 'a\\x00b' cannot be a path"),
        ({"epochs": 1, "classes": ["a\0b", "bird"]}, r"classes: 'a\\x00b' cannot name"),
        (
            {"epochs": 1, "classes": ["a", "b", "c"], "validation": {"photos": 2}},
            "validation.photos = 2 is smaller than the 3 classes",
        ),
    ],
)
def test_a_bad_configuration_is_one_line_with_the_key(table, said):
    with pytest.raises(ConfigError, match=said) as error:
        parse_config(table, "run.toml")
    assert str(error.value).startswith("run.toml: ")
    assert "\n" not in str(error.value)


def test_a_run_shorter_than_the_default_warm_up_rises_to_its_end():
    config = parse_config({"epochs": 0.1}, "run.toml")
    rates = [phase_at(config, epoch).learning_rate for epoch in (0.0, 0.05, 0.1)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(config.optimizer.learning_rate / 2)


def test_a_configuration_is_what_its_toml_says():
    """Integers where a real number is wanted, tuples, paths and ratios; floats to the last bit; also from a bundle."""
    loss = {"epsilon": "8/255", "step_size": 0.01}
    table = {"epochs": 2, "start_from": "runs/a", "classes": ["a", "b"], "loss": loss}
    config = parse_config(table | {"optimizer": {"schedule": "steps", "decay_epochs": [1, 1.5]}}, "run.toml")
    assert (config.epochs, config.start_from, config.classes) == (2.0, Path("runs/a"), ("a", "b"))
    assert (config.loss.epsilon, config.loss.step_size, config.optimizer.decay_epochs) == (8 / 255, 0.01, (1.0, 1.5))
    assert parse_config(json.loads(config.model_dump_json()), "bundle.json") == config
    for number in torch.rand(1000, dtype=torch.float64).tolist():
        assert parse_config({"epochs": 1, "coverage": number}, "run.toml").coverage == number


def test_a_recipe_is_meant_by_its_bare_name_alone(tmp_path, monkeypatch):
    """Beside a folder of that name it is still found; a path that leads nowhere is no recipe."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()
    assert read_config(Path("smoke")).epochs > 0
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "none" / "smoke")


def test_a_missing_file_names_the_recipes(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file; recipes that can be named: .*smoke"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid(recipe):
    assert read_config(Path(recipe.stem)) == read_config(recipe)
    assert json.loads(read_config(recipe).model_dump_json())
