"""A bundle's network as gradient attacks use it."""

import torch
from torch import Tensor

from model.bundle import Classifier
from model.folding import fold_batch_norms
from model.small_maps import multiply_small_maps


class Network:
    """(N, 3, H, W) in [0, 1] -> (N, 2) float32 logits, differentiable in the pictures alone.

    Normalisations are folded into the convolutions: the same function, faster. Where a CPU has matrix tiles (AMX) it
    computes in bfloat16: a search may go a little astray, a judgement may not.
    """

    def __init__(self, classifier: Classifier, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        folded = fold_batch_norms(classifier.network).requires_grad_(False).to(self.device)
        self.network = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.device.type == "cpu":
            multiply_small_maps(self.network)
        tiles = self.device.type == "cpu" and torch.cpu._is_amx_tile_supported()
        self.gradients_in = "bfloat16" if tiles else "float32"

    def __call__(self, x: Tensor) -> Tensor:
        """As precise as `gradients_in` says."""
        if self.gradients_in == "float32":
            return self.exact(x)
        with torch.autocast("cpu", torch.bfloat16):
            return self.exact(x).float()

    def exact(self, x: Tensor) -> Tensor:
        """In float32, wherever it computes."""
        logits: Tensor = self.network(x.to(self.device, memory_format=torch.channels_last))
        return logits
