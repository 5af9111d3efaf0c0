"""Every backbone's ONNX graph against torch; the smallest ones are unit tests."""

from pathlib import Path
from typing import get_args

import pytest

from model.metadata import Architecture
from tests.networks import assert_onnx_equals_torch, save

pytestmark = pytest.mark.integration
BACKBONES = get_args(Architecture.model_fields["backbone"].annotation)
SLOW = ("resnet34", "resnet101", "wrn_34_10")


@pytest.mark.parametrize(
    ("backbone", "activation"),
    [
        *(pytest.param(name, "relu", marks=[pytest.mark.slow] if name in SLOW else []) for name in BACKBONES),
        pytest.param("resnet50", "silu", marks=pytest.mark.slow),
    ],
)
def test_onnx_equals_torch(tmp_path: Path, backbone: str, activation: str) -> None:
    assert_onnx_equals_torch(save(tmp_path, backbone, activation))
