"""Random networks as bundles, and pictures for them, for the tests of the runtimes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from model.architecture import Architecture, PixelClassifier
from model.bundle import BundleMetadata, load_bundle, save_bundle
from model.runtime import OnnxRuntime

SIZE = 32


def network(backbone: str, activation: str = "relu", exposure: str = "fixed", **others: float) -> PixelClassifier:
    """Random weights, with batch norms as after training: none of them is the identity."""
    torch.manual_seed(0)
    values = {"backbone": backbone, "activation": activation, "exposure": exposure, **others}
    model = PixelClassifier(Architecture.model_validate(values)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.5)
            module.weight.data.uniform_(0.7, 1.0)
            module.bias.data.normal_(0, 0.1)
    return model


def save(
    path: Path, backbone: str = "resnet18", activation: str = "relu", size: int = SIZE, **architecture: Any
) -> Path:
    model = network(backbone, activation, **architecture)
    save_bundle(path, model, BundleMetadata(abstain_below=0.0, input_size=size))
    return path


def pictures(count: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def assert_onnx_equals_torch(path: Path) -> None:
    pixels = pictures(4)
    with torch.inference_mode():
        expected = load_bundle(path)(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(OnnxRuntime(path, 1).run(pixels) - expected).max() < 1e-5 * scale
    assert expected.std() > 1e-3  # the comparison would mean nothing if all logits were alike
