"""Batch normalisation folded into the convolutions: the same function in eval mode, for fewer passes over memory."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, fx, nn

Network = TypeVar("Network", bound=nn.Module)
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
        for convolution, norm in self._pairs:
            fold_into(
                self.network.get_submodule(convolution),
                self.source.get_submodule(convolution),
                self.source.get_submodule(norm),
            )
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


def fold_into(target: nn.Module, convolution: nn.Module, norm: nn.Module) -> None:
    """Write into `target` the weights of the one convolution that equals `norm(convolution(x))` in eval mode."""
    assert isinstance(target, nn.Conv2d)
    assert target.bias is not None
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
    torch.mul(convolution.weight, scale.view(-1, 1, 1, 1), out=target.weight)
    target.bias.copy_(shift * scale + norm.bias if norm.affine else shift * scale)


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
