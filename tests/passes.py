"""A small network in train mode or attacked, pictures for it, and steps of the trainer in a faster form."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.architecture import PixelClassifier
from train.config import parse_config
from train.ranks import Ranks
from train.schedule import phase_at
from train.step import TrainStep

CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
FORMS = ("compilation", "capture")


def tiny() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.BatchNorm2d(8))
    network = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    network(torch.rand(8, 3, 16, 16))  # statistics of its own
    return network


def pictures(seed: int = 0, device: str = "cpu") -> Tensor:
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(seed)).to(device)
    return x.contiguous(memory_format=torch.channels_last)


def input_gradient(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    moved = x.clone().requires_grad_(True)
    return torch.autograd.grad(run(moved)[:, 0].square().sum(), moved)[0]


def step_of(device: str = "cpu", ranks: Ranks | None = None, **changes: object) -> TrainStep:
    table = {"epochs": 1, "input_size": 32, "batch_size": 8, "architecture": {"backbone": "wrn_16_1"}}
    config = parse_config(table | {"loss": {"perturb_steps": 2}} | changes, "test")
    torch.manual_seed(0)
    step = TrainStep(PixelClassifier(config.architecture), config, torch.device(device), ranks or Ranks())
    step.speed_up()
    return step


def assert_steps_equal_plain_ones(form: str, device: str, precision: str) -> None:
    """`form` of FORMS alone, the other off.

    Only the first step is compared to rounding: AdamW and L-inf attacks turn the rounding of small gradients into whole
    steps, so that one CPU thread already moves the next gradient's norm by a hundredth from what two give.
    """
    photos = torch.randint(0, 256, (8, 3, 36, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    y = torch.arange(8, device=device) % 2
    exact = precision == "float32"
    seen = {}
    for wanted in ("off", "on"):
        step = step_of(device, precision=precision, **dict.fromkeys(FORMS, "off") | {form: wanted})
        assert {passes.run != passes.plain for passes in (step.trained, step.attacked)} == {wanted == "on"}
        seen[wanted] = [step(photos.to(device), y, phase_at(step.config, 0.9), number) for number in range(3)]
    for number, (plain, faster) in enumerate(zip(seen["off"], seen["on"], strict=True)):
        rounding = exact and number == 0
        assert faster["loss"] == pytest.approx(plain["loss"], rel=1e-3 if rounding else 0.05)
        assert faster["gradient_norm"] == pytest.approx(plain["gradient_norm"], rel=1e-2 if rounding else 0.2)
