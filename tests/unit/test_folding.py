"""The folded twin computes what its network computes in eval mode, whatever the order of its layers."""

import pytest
import torch
from torch import Tensor, nn

from model.architecture import Architecture, PixelClassifier
from model.folding import FoldedTwin, foldable_pairs

pytestmark = pytest.mark.unit

SIDE = 32


class Opaque(nn.Module):
    """No tracing sees through this."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = self.convolution(x)
        return self.norm(x).mean((2, 3))


class Shared(nn.Module):
    """A convolution that is used twice, and one whose output a second layer reads: none may be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.read_twice, self.norm2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.twice(x)) + self.twice(x)
        x = self.read_twice(x)
        return (self.norm2(x) + x).mean((2, 3))


def unusual() -> nn.Module:
    """Normalisation first, bias, groups, no affine part, no statistics, two normalisations in a row."""
    return nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 4, 3, bias=True),
        nn.BatchNorm2d(4, affine=False),
        nn.Conv2d(4, 4, 3, groups=2, bias=False),
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 1),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


NETWORKS = {
    "resnet18": (lambda: PixelClassifier(Architecture(backbone="resnet18")), 20),
    "local exposure": (lambda: PixelClassifier(Architecture(backbone="resnet18", exposure="local")), 20),
    "wrn_16_1": (lambda: PixelClassifier(Architecture(backbone="wrn_16_1")), 6),
    "unusual": (unusual, 2),
    "opaque": (Opaque, 0),
    "shared": (Shared, 0),
}


def trained(name: str) -> nn.Module:
    """In float64, with statistics, scales and shifts of their own, in train mode."""
    torch.manual_seed(0)
    network = NETWORKS[name][0]().double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    network.train()(pictures())
    return network


def pictures() -> Tensor:
    return torch.rand(4, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_twin_is_the_same_function_and_input_gradient(name):
    network = trained(name)
    twin = FoldedTwin(network).network
    assert len(foldable_pairs(network)) == NETWORKS[name][1]
    assert network.training
    assert not twin.training
    outputs, gradients = [], []
    for module in (network.eval(), twin):
        x = pictures().requires_grad_(True)
        outputs.append(module(x))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), x)[0])
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-13)


def test_refresh_follows_the_network_in_place():
    network = trained("resnet18")
    twin = FoldedTwin(network)
    place = twin.network.backbone.conv1.weight.data_ptr()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01)
    network(pictures())  # moves the statistics
    network.eval()
    assert not torch.allclose(twin.network(pictures()), network(pictures()))
    torch.testing.assert_close(twin.refresh()(pictures()), network(pictures()), rtol=1e-10, atol=1e-12)
    assert twin.network.backbone.conv1.weight.data_ptr() == place


def test_a_bf16_twin_answers_like_autocast():
    network = trained("resnet18").float()
    twin = FoldedTwin(network, torch.bfloat16).network
    assert twin.backbone.fc.weight.dtype == torch.bfloat16
    network.eval()
    with torch.autocast("cpu", torch.bfloat16):
        close = twin(pictures().float())
    torch.testing.assert_close(close.float(), network(pictures().float()), rtol=0.05, atol=0.05)


def test_nothing_in_the_twin_wants_a_gradient_and_the_network_keeps_its_own():
    network = trained("resnet18")
    twin = FoldedTwin(network).network
    assert not any(weight.requires_grad for weight in twin.parameters())
    assert all(weight.requires_grad for weight in network.parameters())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 20
