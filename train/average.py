"""The exponential moving average of a network's weights: flatter, more robust, and what is released."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class WeightAverage(Generic[Network]):
    """A copy of a network whose weights and buffers follow the original's.

    The decay rises as (1 + t) / (10 + t) up to its value, so that the random start is forgotten at once.
    """

    def __init__(self, network: Network, decay: float) -> None:
        """`decay` in [0, 1); 0 makes the average equal the network."""
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Move towards `network` after optimiser step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.network.state_dict().values(), network.state_dict().values()
        pairs = list(zip(mine, theirs, strict=True))
        # In one launch each: hundreds of small ones would keep a GPU waiting.
        means, now = _columns([pair for pair in pairs if pair[0].is_floating_point()])
        torch._foreach_lerp_(means, now, 1 - decay)
        counts, now = _columns([pair for pair in pairs if not pair[0].is_floating_point()])
        if counts:
            torch._foreach_copy_(counts, now)


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs]
