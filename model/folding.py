"""Batch normalisation folded into the convolutions: the same function in eval mode, for fewer passes over memory."""

import copy
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, fx, nn

Network = TypeVar("Network", bound=nn.Module)
Layer = TypeVar("Layer", bound=nn.Module)
Pair = tuple[str, str]
"""The names of a convolution and of the normalisation that alone reads its output."""


class FoldedTwin(Generic[Network]):
    """A frozen copy of a network that computes what the network computes in eval mode, with less work.

    Normalisations that directly follow a convolution become part of its weights; all others, and whatever cannot be
    traced, stay as they are. `refresh` takes over the network's present weights in place, so that a training step pays
    one pass over the weights and no new compilation. Made for attacks: nothing in it requires a gradient.
    """

    def __init__(self, source: Network, weights: torch.dtype | None = None) -> None:
        """`weights`: the type that convolutions and linear layers are kept in, for autocast to find them ready."""
        self.source = source
        self.network: Network = copy.deepcopy(source).eval().requires_grad_(False)
        self._pairs = foldable_pairs(source)
        for convolution, norm in self._pairs:
            _prepare(self.network.get_submodule(convolution))
            _replace(self.network, norm, nn.Identity())
        if weights is not None:
            for module in self.network.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.to(weights)
        self._plain = self._unfolded()
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> Network:
        """Bring the twin up to the source's weights and statistics, and return it."""
        if self._pairs:
            convolutions = [convolution for convolution, _ in self._pairs]
            targets, sources = (_layers(network, convolutions, nn.Conv2d) for network in (self.network, self.source))
            fold_into(targets, sources, _layers(self.source, [norm for _, norm in self._pairs], nn.BatchNorm2d))
        if self._plain:
            mine, theirs = map(list, zip(*self._plain, strict=True))
            torch._foreach_copy_(mine, theirs)  # in one launch
        return self.network

    def _unfolded(self) -> list[tuple[Tensor, Tensor]]:
        """Every tensor of the twin that is a plain copy, with its original."""
        theirs = self.source.state_dict(keep_vars=True)
        folded = {f"{convolution}.{name}" for convolution, _ in self._pairs for name in ("weight", "bias")}
        return [
            (mine, theirs[name]) for name, mine in self.network.state_dict(keep_vars=True).items() if name not in folded
        ]


def fold_batch_norms(network: Network) -> Network:
    """A frozen copy in eval mode whose normalisations are folded into the convolutions before them."""
    return FoldedTwin(network).network


def foldable_pairs(network: nn.Module) -> list[Pair]:
    """Found in the traced graph, so that a normalisation that comes before its convolution is never taken."""
    try:
        graph = _Tracer().trace(network)
    except Exception:  # noqa: BLE001  (whatever a network does that cannot be traced: it is then attacked as it is)
        return []
    calls = [node for node in graph.nodes if node.op == "call_module"]
    once = {name for name in (str(node.target) for node in calls) if sum(str(n.target) == name for n in calls) == 1}
    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        names = str(before.target), str(node.target)
        if once.issuperset(names) and _folds(*map(network.get_submodule, names)):
            pairs.append(names)
    return pairs


def fold_into(targets: list[nn.Conv2d], convolutions: list[nn.Conv2d], norms: list[nn.BatchNorm2d]) -> None:
    """Write into each of `targets`, with a bias, the weights of the one convolution that equals `norm(convolution(x))`.

    In eval mode. Vectors of all layers go together: a launch for each would keep a GPU waiting.
    """
    variances = [norm.running_var for norm in norms if norm.running_var is not None]
    scales = list(torch._foreach_add(variances, [norm.eps for norm in norms]))
    torch._foreach_rsqrt_(scales)
    shifts = list(torch._foreach_neg([norm.running_mean for norm in norms if norm.running_mean is not None]))
    _where_given(torch._foreach_mul_, scales, [norm.weight if norm.affine else None for norm in norms])
    _where_given(torch._foreach_add_, shifts, [convolution.bias for convolution in convolutions])
    torch._foreach_mul_(shifts, scales)
    _where_given(torch._foreach_add_, shifts, [norm.bias if norm.affine else None for norm in norms])
    torch._foreach_copy_([target.bias for target in targets if target.bias is not None], shifts)
    for target, convolution, scale in zip(targets, convolutions, scales, strict=True):
        torch.mul(convolution.weight, scale.view(-1, 1, 1, 1), out=target.weight)


def _where_given(
    change: Callable[[list[Tensor], list[Tensor]], object], vectors: list[Tensor], others: Sequence[Tensor | None]
) -> None:
    """Change in place the vectors that have another one beside them."""
    pairs = [(vector, other) for vector, other in zip(vectors, others, strict=True) if other is not None]
    if pairs:
        change([vector for vector, _ in pairs], [other for _, other in pairs])


def _layers(network: nn.Module, names: list[str], kind: type[Layer]) -> list[Layer]:
    layers = []
    for name in names:
        layer = network.get_submodule(name)
        assert isinstance(layer, kind)
        layers.append(layer)
    return layers


def _folds(convolution: nn.Module, norm: nn.Module) -> bool:
    plain = isinstance(convolution, nn.Conv2d) and type(norm) is nn.BatchNorm2d
    return plain and norm.running_mean is not None


class _Tracer(fx.Tracer):
    """Looks into no convolution, whatever its class."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def _prepare(convolution: nn.Module) -> None:
    assert isinstance(convolution, nn.Conv2d)
    if convolution.bias is None:
        zeros = torch.zeros_like(convolution.weight[:, 0, 0, 0])
        convolution.bias = nn.Parameter(zeros, requires_grad=False)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, module)
