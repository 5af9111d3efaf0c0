"""The network as an ONNX graph, built node by node: no exporter, no tracing, a fraction of a second.

N batch, S side of the square, C channels. Batch norms are folded into the convolutions before them (in float64), so
that the graph holds convolutions, activations and additions alone.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from model.architecture import PixelClassifier
from model.vision import torchvision

OPSET: Final = 17
IR_VERSION: Final = 8
_BLOCKS: Final = (torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck)

Weights = npt.NDArray[np.float64]


def export_onnx(network: PixelClassifier, size: int) -> bytes:
    """The serialized graph: input `pixels` uint8 (N, S, S, 3), output `logits` float32 (N, 2), S = `size`.

    Computes what `network` computes in eval mode on pixels / 255, up to rounding (logits within 1e-5).
    """
    graph = _Graph(network.architecture.activation)
    resnet = network.backbone
    x = graph.node("Cast", [graph.node("Transpose", ["pixels"], perm=[0, 3, 1, 2])], to=TensorProto.FLOAT)
    mean, std = (_array(tensor) for tensor in (network.mean, network.std))
    x = graph.node("Mul", [x, graph.constant(1 / (255 * std))])
    x = graph.node("Add", [x, graph.constant(-mean / std)])
    x = graph.activation(graph.convolution(x, resnet.conv1, resnet.bn1))
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
        assert isinstance(layer, nn.Sequential)
        for block in layer:
            x = graph.residual_block(x, block)
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    assert isinstance(resnet.fc, nn.Linear)
    weight, bias = graph.constant(_array(resnet.fc.weight)), graph.constant(_array(resnet.fc.bias))
    graph.node("Gemm", [x, weight, bias], output="logits", transB=1)
    return graph.serialize(size)


class _Graph:
    """Nodes and constants under construction; names are counted."""

    def __init__(self, activation: str) -> None:
        self.activation_name = activation
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: object) -> str:
        """Append a node and return the name of its output."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Weights) -> str:
        """Append a float32 constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))
        return name

    def convolution(self, x: str, convolution: nn.Module, norm: nn.Module) -> str:
        """A convolution with its batch norm folded in: w * g, beta - mu * g, with g = gamma / sqrt(var + eps)."""
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
        weight = _array(convolution.weight) * gain[:, None, None, None]
        bias = _array(norm.bias) - _array(norm.running_mean) * gain
        (top, left) = convolution.padding if isinstance(convolution.padding, tuple) else (0, 0)
        inputs = [x, self.constant(weight), self.constant(bias)]
        return self.node(
            "Conv",
            inputs,
            kernel_shape=list(convolution.kernel_size),
            strides=list(convolution.stride),
            pads=[top, left, top, left],
        )

    def activation(self, x: str) -> str:
        """`relu`, or `silu` as x * sigmoid(x)."""
        if self.activation_name == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        return self.node("Relu", [x])

    def residual_block(self, x: str, block: nn.Module) -> str:
        """Convolutions with activations between, plus the shortcut, then the activation."""
        assert isinstance(block, _BLOCKS)
        steps = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        if isinstance(block, torchvision.models.resnet.Bottleneck):
            steps.append((block.conv3, block.bn3))
        y = x
        for step, (convolution, norm) in enumerate(steps):
            y = self.convolution(self.activation(y) if step else y, convolution, norm)
        shortcut = x if block.downsample is None else self.convolution(x, *block.downsample)
        return self.activation(self.node("Add", [y, shortcut]))

    def serialize(self, size: int) -> bytes:
        """The finished model's bytes."""
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", size, size, 3])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])
        graph = helper.make_graph(self.nodes, "bird_or_bicycle", [pixels], [logits], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        data: bytes = model.SerializeToString()
        return data


def _array(tensor: torch.Tensor | nn.Parameter) -> Weights:
    return tensor.detach().cpu().double().numpy()
