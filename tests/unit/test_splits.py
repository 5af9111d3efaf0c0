"""CIFAR-10's binary files as photos of a run, and ten classes where there were two."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.answers import answers
from model.errors import ConfigError, DataError
from tests.cifar import CLASSES, write_copy
from train.augment import augment
from train.batches import Batches
from train.config import AugmentConfig, parse_config, read_config
from train.randomness import generator_of
from train.schedule import phase_at
from train.splits import RECORD, open_split
from train.validation import _balanced, accuracy

pytestmark = pytest.mark.unit


def test_the_binary_version_is_read_as_it_is_unpacked(tmp_path):
    data = write_copy(tmp_path, 20)
    photos = open_split(data, "train", 32, CLASSES)
    assert len(photos) == 40
    assert photos.labels.tolist() == [*range(10)] * 4
    assert photos.names[20] == "data_batch_2/00000"
    record = np.frombuffer((data / "data_batch_2.bin").read_bytes(), np.uint8)[3 * RECORD : 4 * RECORD]
    assert record[0] == photos.labels[23] == 3
    assert photos.take(torch.tensor([23]))[0].flatten().tolist() == record[1:].tolist(), "red, green, blue"
    val = open_split(data, "val", 32, CLASSES)
    assert len(val) == 20
    assert val.digest != photos.digest
    assert open_split(data, "train", 64, CLASSES).take(torch.tensor([0])).shape == (1, 3, 64, 64)


def test_a_folder_for_each_class_will_do(tmp_path):
    for number, name in enumerate(CLASSES):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (20 * number, 0, 0)).save(tmp_path / "train" / name / "one.png")
    photos = open_split(tmp_path, "train", 32, CLASSES)
    assert photos.take(torch.arange(10))[:, 0, 0, 0].tolist() == list(range(0, 200, 20))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data_batch_1", b"\x80\x04", "pickles, which may run code; take its binary version"),
        ("data_batch_1.bin", b"\0" * (RECORD + 1), "data_batch_1.bin: not a batch of CIFAR-10"),
        ("data_batch_1.bin", b"", "data_batch_1.bin: not a batch of CIFAR-10"),
        ("data_batch_1.bin", b"\x0a" + b"\0" * (RECORD - 1), "data_batch_1.bin: not a batch of CIFAR-10"),
        ("data_batch_1.bin", b"\0" * RECORD, "automobile: none of its pictures"),
    ],
)
def test_what_is_no_copy_is_one_line(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as error:
        open_split(tmp_path, "train", 32, CLASSES)
    assert "\n" not in str(error.value)


def test_ten_classes_need_ten_names(tmp_path):
    """Also where an earlier run with ten names has left its cache."""
    data = write_copy(tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match="CIFAR-10 has 10 classes, and `classes` names 2"):
            open_split(data, "train", 32, ("bicycle", "bird"))
        open_split(data, "train", 32, CLASSES)
    with pytest.raises(ConfigError, match="batch_size = 8 is smaller than the 10 classes"):
        parse_config({"epochs": 1, "batch_size": 8, "classes": CLASSES}, "test")


def test_batches_of_ten_classes_take_turns_and_cover_every_photo():
    batches = Batches(torch.arange(60) % 10, 24, seed=0)
    steps = torch.cat([batches.at(step) for step in range(5)])
    assert (steps % 10 == torch.arange(120) % 10).all()
    assert sorted(steps[:60].tolist()) == sorted(steps[60:].tolist()) == list(range(60))


def test_ten_classes_are_measured_and_named():
    logits = torch.eye(10).roll(1, dims=1)
    assert accuracy(logits, torch.arange(10)).at_100 == 0
    assert accuracy(logits, torch.arange(10).roll(-1)).at_100 == 1
    assert answers(logits.numpy(), 0.5, CLASSES) == [*CLASSES[1:], CLASSES[0]]
    assert (torch.arange(40) % 10)[_balanced(torch.arange(40) % 10, 20)].bincount().tolist() == [2] * 10


@pytest.mark.parametrize(
    ("held", "count", "taken"),
    [
        ((2, 70), 72, [2, 70]),
        ((2, 70), 1000, [2, 70]),
        ((70, 2), 36, [34, 2]),
        ((2, 70), 4, [2, 2]),
        ((5, 5, 1), 8, [3, 4, 1]),
        ((70, 70), 21, [10, 11]),
    ],
)
def test_a_class_that_lacks_photos_is_made_up_for_by_larger_ones(held, count, taken):
    """So the final table attacks the photos that its natural accuracy is of, all of them, however few a class has."""
    labels = torch.repeat_interleave(torch.arange(len(held)), torch.tensor(held))
    indices = _balanced(labels, count)
    assert labels[indices].bincount().tolist() == taken
    assert len(indices.unique()) == len(indices)


def test_pad_and_crop_moves_by_whole_pixels_and_leaves_black():
    photos = torch.randint(1, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    nothing = read_config(Path("paper-cifar")).augment
    x = augment(photos, 32, nothing, generator_of(0))
    seen = set()
    for image, photo in zip((x * 255).round(), photos.float(), strict=True):
        filled = (image.sum(0) > 0).nonzero()
        (top, left), (bottom, right) = filled.amin(0).tolist(), (filled.amax(0) + 1).tolist()
        patch = image[:, top:bottom, left:right]
        height, width = bottom - top, right - left
        y, z = (32 - height if top == 0 else 0), (32 - width if left == 0 else 0)
        sources = [source[:, y : y + height, z : z + width] for source in (photo, photo.flip(2))]
        assert any(torch.equal(patch, source) for source in sources)
        seen.add((top - y, left - z))
    assert {abs(part) for shift in seen for part in shift} == set(range(5))
    assert torch.equal(augment(photos, 32, nothing, generator_of(0)), x)


def test_paper_cifar_holds_the_values_of_the_paper():
    config = read_config(Path("paper-cifar"))
    loss, optimizer = config.loss, config.optimizer
    assert (config.architecture.backbone, config.batch_size, config.epochs) == ("wrn_34_10", 128, 76)
    assert (loss.epsilon, loss.step_size, loss.perturb_steps, loss.beta) == (0.031, 0.007, 10, 6)
    assert (optimizer.name, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.9, 2e-4)
    rates = [phase_at(config, epoch).learning_rate for epoch in (0, 73.9, 74)]
    assert rates == pytest.approx([0.1, 0.1, 0.01])
    assert phase_at(config, 0).epsilon == 0.031
    assert config.spatial.span.is_identity
    assert config.classes == CLASSES
    drawn = AugmentConfig.model_fields.keys() - {"flip", "pad_px", "crop_scale", "resolution_min"}
    assert {name: getattr(config.augment, name) for name in drawn} == dict.fromkeys(drawn, 0)
