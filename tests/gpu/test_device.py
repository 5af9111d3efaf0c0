"""The device's path of everything that has one, against the CPU's. Each test runs on the CPU too, to show its logic.

On a machine with CUDA: pytest -m gpu.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attack.evaluation.subject import BundleSubject
from attack.gradient.pgd import PGD, pgd
from attack.surrogate import Surrogate
from attack.transforms.pixels import to_tensor
from attack.transforms.spatial import SpatialRange, apply_maps, draw_maps
from model.architecture import PixelClassifier
from model.runtime import open_runtime
from model.torch_runtime import TorchRuntime
from tests.networks import SIZE, network, pictures, save
from tools.gpu.checks import label_changes, loss_errors, rows_with_other_bits
from train.augment import augment
from train.config import AugmentConfig, parse_config
from train.feed import Feed, fits
from train.loop import train
from train.randomness import generator_of
from train.schedule import phase_at
from train.step import TrainStep

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.integration),
    pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA]),
]
on_devices = pytest.mark.parametrize("device", DEVICES)
# float16 on a CPU is not what a service would run.
PRECISIONS = [
    pytest.param(*device.values, precision, marks=device.marks)
    for device in DEVICES
    for precision in ("float32", "float16", "bfloat16")
    if (*device.values, precision) != ("cpu", "float16")
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("bundle"))


def batch(n: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)), torch.arange(n) % 2


@on_devices
def test_a_surrogate_s_gradient_is_that_of_the_cpu(device, bundle):
    point = np.random.default_rng(0).uniform(0, 255, 3 * SIZE * SIZE).astype(np.float32)
    exact, there = Surrogate([bundle], "cpu"), Surrogate([bundle], device).against(1, SIZE)(point)
    for one, _ in exact.networks:
        one.gradients_in = "float32"  # a CPU with matrix tiles would take bfloat16, and turn it by a tenth
    assert float(exact.against(1, SIZE)(point) @ there) > 0.95
    np.testing.assert_array_equal(Surrogate([bundle], device).against(1, SIZE)(point), there)


@on_devices
def test_the_trades_loss_and_its_gradient_are_those_of_the_cpu_in_float64(device):
    errors = loss_errors(network("resnet18"), *batch(), device, perturb_steps=4)
    assert errors["float64"]["loss"] < 1e-9
    assert errors["float64"]["gradient"] < 1e-6
    assert errors["float32"]["loss"] < 1e-2  # a sign step that rounding turns moves a pixel by twice its length
    assert errors["float32"]["pixels_elsewhere"] < 0.05
    assert errors["bfloat16"]["loss"] < 0.2
    assert errors["float32"]["loss"] < errors["bfloat16"]["loss"]


@pytest.mark.integration
def test_the_comparison_sees_a_wrong_loss():
    class Wrong(nn.Module):
        """Right in float64; elsewhere its logits are a twentieth too large."""

        def __init__(self, inner: PixelClassifier) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * (1.0 if x.dtype == torch.float64 else 1.05)

    errors = loss_errors(Wrong(network("resnet18")), *batch(), "cpu", perturb_steps=2)
    assert errors["float64"]["gradient"] == 0
    assert errors["float32"]["gradient"] > 1e-2


@pytest.mark.parametrize(("device", "precision"), PRECISIONS)
def test_no_company_changes_a_bit_of_an_answer(bundle, device, precision):
    """The service's runtime in each precision: alone, in part of a batch, in a full one, in several, in any order."""
    runtime = TorchRuntime(bundle, device, 1, precision)
    runtime.prove()
    pixels = pictures(70 if device == "cuda" else 12)
    assert len(np.unique(runtime.logits(pixels)[:, 0])) > len(pixels) / 2  # half precision rounds some to one value
    assert rows_with_other_bits(runtime, pixels) == 0


@pytest.mark.integration
def test_the_comparison_sees_a_bit_that_company_changes(bundle, monkeypatch):
    runtime = open_runtime(bundle, "torch", "cpu", threads=1)
    honest = runtime.logits
    monkeypatch.setattr(runtime, "logits", lambda pixels: np.nextafter(honest(pixels), np.float32(len(pixels) == 1)))
    assert rows_with_other_bits(runtime, pictures(4)) == 4


@on_devices
def test_labels_in_half_precision_are_compared_with_those_in_full(bundle, device):
    exact, half = (TorchRuntime(bundle, device, 1, precision) for precision in ("float32", "bfloat16"))
    found = label_changes(exact, half, pictures(12))
    assert found["photos"] == 12
    assert 0 < found["largest_logit_distance"] < 1
    assert label_changes(exact, exact, pictures(12)) == {"photos": 12, "labels_changed": 0, "largest_logit_distance": 0}


@on_devices
def test_maps_on_the_device_are_the_cpus(device):
    x, _ = batch()
    maps = draw_maps(4, SpatialRange(), torch.Generator().manual_seed(2))
    scales = torch.tensor([0.7, 0.8, 0.9, 1.0])
    there = apply_maps(x.to(device), maps.to(device), scales.to(device))
    assert there.device.type == device
    exact = apply_maps(x.double(), maps.double(), scales.double())
    assert (there.cpu() - exact).abs().max() < 1e-4
    assert (exact - x).abs().mean() > 0.05


@on_devices
def test_a_map_has_the_same_gradient_on_the_device(device):
    x, _ = batch(2)
    maps = torch.tensor([[20.0, 0.1, -0.05], [-10.0, 0.0, 0.08]])
    gradients = []
    for where, dtype in ((device, torch.float32), ("cpu", torch.float64)):
        moved = maps.to(where, dtype).clone().requires_grad_(True)
        (apply_maps(x.to(where, dtype), moved) ** 2).sum().backward()
        gradients.append(moved.grad.double().cpu())
    assert (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 1e-3


@on_devices
def test_augmentation_runs_where_the_photos_are_and_repeats(device):
    photos = torch.from_numpy(pictures(8, 40)).permute(0, 3, 1, 2).to(device)
    once, again = (augment(photos, SIZE, AugmentConfig(), generator_of(0, device=device)) for _ in range(2))
    assert once.device.type == device
    assert once.shape == (8, 3, SIZE, SIZE)
    assert 0 <= once.min() <= once.max() <= 1
    assert torch.equal(once, again)


@on_devices
def test_the_evaluation_answers_alike_on_the_device_and_its_attack_stays_in_the_ball(bundle, device):
    pixels = pictures(6)
    subject = BundleSubject(bundle, device)
    x = to_tensor(pixels, device)
    expected = open_runtime(bundle, "onnx", threads=1).logits(pixels)
    assert np.abs(subject.logits(x).numpy() - expected).max() < 1e-3 * max(1, np.abs(expected).max())
    assert subject.differentiable is not None
    settings = PGD("l_inf", 16 / 255, 5)
    found = pgd(subject.differentiable, x, torch.arange(6, device=device) % 2, range(6), settings)
    assert found.x.device.type == device
    assert (found.x - x).abs().max() <= 16 / 255 + 1e-6


@on_devices
def test_the_photos_of_a_step_come_to_the_device(tiny_photos, device):
    from train.cache import open_cache

    photos = open_cache(tiny_photos / "train", 36)
    feed = Feed(photos, lambda step: torch.tensor([3, 1, 2]) + step, torch.device(device))
    rows, labels = feed.at(1)
    feed.close()
    assert rows.device.type == labels.device.type == device
    assert torch.equal(rows.cpu(), photos.take(torch.tensor([4, 2, 3])))
    assert fits(photos, torch.device(device)) == (device == "cuda")


@on_devices
def test_a_step_on_the_device_moves_the_weights_and_repeats(device):
    """Twice from the same start: the same figures, up to what a device's sums in another order change."""
    table = {"epochs": 1, "input_size": SIZE, "batch_size": 8, "architecture": {"backbone": "resnet18"}}
    config = parse_config(table | {"loss": {"perturb_steps": 2}}, "test")
    photos = torch.from_numpy(pictures(8, 36)).permute(0, 3, 1, 2).to(device)
    y = torch.arange(8, device=device) % 2
    seen = []
    for _ in range(2):
        step = TrainStep(network("resnet18"), config, torch.device(device))
        seen.append([step(photos, y, phase_at(config, 0.9), number)["loss"] for number in range(3)])
    assert seen[0] == pytest.approx(seen[1], rel=0.05)
    assert len(set(seen[0])) == 3


@on_devices
def test_a_run_on_the_device_is_broken_off_resumed_and_released(tiny_photos, tmp_path, device):
    from tests.runs import run_table

    config = parse_config(run_table(epochs=1, compilation="off"), "test")
    assert train(config, tiny_photos, tmp_path, device=device, minutes=1e-9) is None
    validation = train(config, tiny_photos, tmp_path, device=device, resume=True)
    assert validation is not None
    assert (tmp_path / "model.safetensors").exists()
