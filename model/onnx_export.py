"""The network as an ONNX graph, built node by node from the weights: no torch, no tracing, a fraction of a second.

N batch, S side of the square, C channels. Batch norms are folded into the convolutions before them (in float64), so
that the graph of a ResNet holds convolutions, activations and additions alone. The layout of torchvision's ResNets: He
et al. 2015, table 1, with the stride of a bottleneck in its 3 x 3 convolution. Of wide ones (model/wide_resnet.py) the
norms stay that no convolution precedes.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model import exposure
from model.metadata import Architecture

OPSET: Final = 17
IR_VERSION: Final = 8
NORM_EPSILON: Final = 1e-5
BLOCKS: Final = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
BOTTLENECKS: Final = ("resnet50", "resnet101")

Array = npt.NDArray[Any]


def export_onnx(weights: Mapping[str, Array], architecture: Architecture, size: int) -> bytes:
    """The serialized graph: input `pixels` uint8 (N, S, S, 3), output `logits` float32 (N, 2), S = `size`.

    `weights` are the tensors of a `PixelClassifier`, by name. The graph computes what that computes in eval mode on
    pixels / 255, up to rounding (logits within 1e-5). Raises KeyError naming a tensor that is missing, ValueError
    naming one that is left over.
    """
    graph = _Graph(weights, architecture.activation)
    x = graph.node("Cast", [graph.node("Transpose", ["pixels"], perm=[0, 3, 1, 2])], to=TensorProto.FLOAT)
    mean, std = graph.weight("mean"), graph.weight("std")
    if architecture.exposure == "local":
        x = graph.local_light_removed(x, size, architecture.light_removed)
    if architecture.exposure != "fixed":
        x = graph.standardized(x, architecture.contrast_floor)
        mean, std = (mean - exposure.MEAN) / exposure.SPREAD, std / exposure.SPREAD
    else:
        mean, std = 255 * mean, 255 * std
    x = graph.node("Mul", [x, graph.constant(1 / std)])
    x = graph.node("Add", [x, graph.constant(-mean / std)])
    layers = _wide if architecture.backbone.startswith("wrn_") else _residual
    x = layers(graph, x, architecture.backbone)
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    head = [graph.constant(graph.weight(f"backbone.fc.{name}")) for name in ("weight", "bias")]
    graph.node("Gemm", [x, *head], output="logits", transB=1)
    return graph.serialize(size)


def _residual(graph: "_Graph", x: str, backbone: str) -> str:
    x = graph.activation(graph.convolution(x, "backbone.conv1", "backbone.bn1", stride=2))
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, count in enumerate(BLOCKS[backbone], start=1):
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            x = graph.block(x, f"backbone.layer{stage}.{block}", stride, backbone in BOTTLENECKS)
    return x


def _wide(graph: "_Graph", x: str, backbone: str) -> str:
    x = graph.convolution(x, "backbone.conv1")
    count = (int(backbone.split("_")[1]) - 4) // 6  # blocks of each of the three groups
    for block in range(3 * count):
        x = graph.wide_block(x, f"backbone.blocks.{block}", stride=2 if block in (count, 2 * count) else 1)
    return graph.activation(graph.normalised(x, "backbone.bn"))


class _Graph:
    """Nodes and constants under construction; names are counted."""

    def __init__(self, weights: Mapping[str, Array], activation: str) -> None:
        self.weights, self.activation_name = weights, activation
        self.unused = {name for name in weights if not name.endswith("num_batches_tracked")}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def weight(self, name: str) -> Array:
        """A tensor of the network, in float64."""
        self.unused.discard(name)
        return np.asarray(self.weights[name], np.float64)

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: object) -> str:
        """Append a node and return the name of its output."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Array) -> str:
        """Append a float32 constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))
        return name

    def norm(self, name: str) -> tuple[Array, Array]:
        """A batch norm as x * g + b: g = gamma / sqrt(var + eps), b = beta - mu * g; (C,) each."""
        gain = self.weight(f"{name}.weight") / np.sqrt(self.weight(f"{name}.running_var") + NORM_EPSILON)
        return gain, self.weight(f"{name}.bias") - self.weight(f"{name}.running_mean") * gain

    def normalised(self, x: str, norm: str) -> str:
        """A batch norm that no convolution takes in."""
        gain, bias = (self.constant(value[:, None, None]) for value in self.norm(norm))
        return self.node("Add", [self.node("Mul", [x, gain]), bias])

    def convolution(self, x: str, name: str, norm: str | None = None, stride: int = 1) -> str:
        """A convolution; the batch norm that follows it, where there is one, becomes part of its weights and bias."""
        kernel, bias = self.weight(f"{name}.weight"), []
        if norm is not None:
            gain, shift = self.norm(norm)
            kernel, bias = kernel * gain[:, None, None, None], [self.constant(shift)]
        side = kernel.shape[-1]
        return self.node(
            "Conv",
            [x, self.constant(kernel), *bias],
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[side // 2] * 4,
        )

    def local_light_removed(self, x: str, size: int, share: float) -> str:
        """Each picture without each channel's mean and a share of the grey light around each pixel."""
        x = self.node("Sub", [x, self.node("ReduceMean", [x], axes=[2, 3])])
        grey = self.node("ReduceMean", [x], axes=[1])
        place = np.arange(size) / (exposure.LOCAL_RADIUS * size)
        gaussian = np.exp(-((place[:, None] - place) ** 2) / 2)
        gaussian /= gaussian.sum(axis=1, keepdims=True)
        rows = self.node("MatMul", [self.constant(share * gaussian), grey])
        return self.node("Sub", [x, self.node("MatMul", [rows, self.constant(gaussian.T)])])

    def standardized(self, x: str, floor: float) -> str:
        """Each picture of 0 to 255 with its mean taken away, divided by its floored standard deviation."""
        x = self.node("Sub", [x, self.node("ReduceMean", [x], axes=[1, 2, 3])])
        variance = self.node("ReduceMean", [self.node("Mul", [x, x])], axes=[1, 2, 3])
        floored = self.node("Add", [variance, self.constant(np.array((255 * floor) ** 2))])
        return self.node("Div", [x, self.node("Sqrt", [floored])])

    def activation(self, x: str) -> str:
        """`relu`, or `silu` as x * sigmoid(x)."""
        if self.activation_name == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        return self.node("Relu", [x])

    def block(self, x: str, name: str, stride: int, bottleneck: bool) -> str:
        """A residual block: convolutions with activations between, plus the shortcut, then the activation."""
        strides = (1, stride, 1) if bottleneck else (stride, 1)
        y = x
        for step, step_stride in enumerate(strides, start=1):
            y = self.convolution(y, f"{name}.conv{step}", f"{name}.bn{step}", step_stride)
            y = self.activation(y) if step < len(strides) else y
        if f"{name}.downsample.0.weight" in self.weights:
            x = self.convolution(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        return self.activation(self.node("Add", [y, x]))

    def wide_block(self, x: str, name: str, stride: int) -> str:
        """Norm, activation and convolution twice, beside a shortcut from before, or from the first activation."""
        activated = self.activation(self.normalised(x, f"{name}.bn1"))
        y = self.activation(self.convolution(activated, f"{name}.conv1", f"{name}.bn2", stride))
        if f"{name}.shortcut.weight" in self.weights:
            x = self.convolution(activated, f"{name}.shortcut", stride=stride)
        return self.node("Add", [self.convolution(y, f"{name}.conv2"), x])

    def serialize(self, size: int) -> bytes:
        """The finished model's bytes."""
        if self.unused:
            raise ValueError(f"a tensor {min(self.unused)} that the architecture has no place for")
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", size, size, 3])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])
        graph = helper.make_graph(self.nodes, "bird_or_bicycle", [pixels], [logits], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        data: bytes = model.SerializeToString()
        return data
