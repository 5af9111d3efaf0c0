"""Every backbone's ONNX graph against torch; the smallest one is a unit test."""

from pathlib import Path

import pytest

from tests.networks import assert_onnx_equals_torch, save

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("backbone", "activation"),
    [
        ("resnet50", "relu"),
        pytest.param("resnet34", "relu", marks=pytest.mark.slow),
        pytest.param("resnet50", "silu", marks=pytest.mark.slow),
        pytest.param("resnet101", "relu", marks=pytest.mark.slow),
    ],
)
def test_onnx_equals_torch(tmp_path: Path, backbone: str, activation: str) -> None:
    assert_onnx_equals_torch(save(tmp_path, backbone, activation))
