"""Networks of the attacker's own, whose gradients an attack may follow. S side of the picture, D = 3 S S values."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from attack.decision.problem import Gradient, Vector
from attack.gradient.balls import gradient_of, lengths
from attack.gradient.network import Network
from attack.gradient.objective import split
from model.bundle import load_bundle


class Surrogate:
    """One bundle or several; each sees the picture at the side that it was trained for."""

    def __init__(self, bundles: Sequence[Path], device: str | None = None) -> None:
        """On CUDA where there is a device, unless told. Raises BundleError."""
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.deterministic = True  # a run that goes on must meet the same probes
        classifiers = [load_bundle(path) for path in bundles]
        self.identities = [classifier.metadata.weights_sha256 for classifier in classifiers]
        self.networks = [(Network(classifier, device), classifier.input_size) for classifier in classifiers]

    def against(self, label: int, side: int) -> Gradient:
        """What turns pictures of a class into the other one."""
        return partial(self._gradient, label, side)

    def _gradient(self, label: int, side: int, point: Vector) -> Vector:
        """(D,) the sum of the networks' unit gradients of `wrong - right` at a (D,) picture in pixel units."""
        x = torch.from_numpy(point).view(1, side, side, 3).permute(0, 3, 1, 2) / 255
        x.requires_grad_(True)
        total = torch.zeros_like(x)
        for network, size in self.networks:
            gradient = gradient_of(_margin(network(_resized(x, size)), label), x)
            total += gradient / lengths(gradient).clamp(min=1e-12)
        ascent: Vector = total.permute(0, 2, 3, 1).reshape(-1).numpy()
        return ascent


def _margin(logits: Tensor, label: int) -> Tensor:
    right, wrong = split(logits, torch.full((len(logits),), label, device=logits.device))
    return wrong - right


def _resized(x: Tensor, size: int) -> Tensor:
    if x.shape[-1] == size:
        return x
    return interpolate(x, (size, size), mode="bilinear", antialias=x.shape[-1] > size, align_corners=False)
