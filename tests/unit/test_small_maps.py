"""A convolution as a product of matrices is the convolution, and is taken for small maps alone."""

import copy

import pytest
import torch
from torch import nn

from model import small_maps
from model.architecture import Architecture, PixelClassifier
from model.folding import FoldedTwin, foldable_pairs
from model.small_maps import SmallMapConv2d, multiply_small_maps

pytestmark = pytest.mark.unit


def pair(kernel: int, stride: int, *, bias: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A convolution, and its copy that multiplies; float64."""
    conv = nn.Conv2d(5, 7, kernel, stride, padding=kernel // 2, bias=bias).double()
    other = copy.deepcopy(conv)
    multiply_small_maps(other)
    assert type(other) is SmallMapConv2d
    return conv, other


def calls(monkeypatch, name):
    """Whether F.linear, or the convolution itself, is called: a list that grows."""
    seen: list[torch.Size] = []
    owner = small_maps.F if name == "linear" else nn.Conv2d
    plain = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: seen.append(args[0]) or plain(*args, **kwargs))
    return seen


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kernel", "stride", "shape"), [(1, 1, (4, 4)), (1, 2, (7, 5)), (3, 1, (2, 2)), (3, 2, (4, 3)), (3, 2, (1, 1))]
)
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_and_gradients_are_those_of_the_convolution(monkeypatch, layout, kernel, stride, shape, bias):
    products = calls(monkeypatch, "linear")
    conv, other = (module.to(memory_format=layout) for module in pair(kernel, stride, bias=bias))
    x = torch.randn(3, 5, *shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    expected, found = conv(x), other(x)
    assert len(products) == 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), (x, *conv.parameters()))
    got = torch.autograd.grad((found * weight).sum(), (x, *other.parameters()))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(1, 1, 5), (1, 2, 9), (3, 1, 3), (3, 2, 5)])
def test_larger_maps_stay_convolutions(monkeypatch, kernel, stride, side):
    products = calls(monkeypatch, "linear")
    conv, other = pair(kernel, stride, bias=False)
    x = torch.randn(2, 5, side, side, dtype=torch.float64)
    assert torch.equal(conv(x), other(x))
    assert not products


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 4, 7, padding=3),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(4, 4, (1, 3)),
        nn.Conv2d(4, 4, 3, stride=(1, 2)),
    ],
)
def test_unusual_convolutions_are_left_alone(conv):
    multiply_small_maps(conv)
    assert type(conv) is nn.Conv2d


def test_a_network_keeps_its_function_its_weights_and_its_folding():
    network = PixelClassifier(Architecture(backbone="resnet18")).double().eval()
    other = copy.deepcopy(network)
    multiply_small_maps(other)
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(other(x), network(x), rtol=0, atol=1e-12)
    assert list(other.state_dict()) == list(network.state_dict())
    assert foldable_pairs(other) == foldable_pairs(network)
    torch.testing.assert_close(FoldedTwin(other).network(x), network(x), rtol=0, atol=1e-10)
