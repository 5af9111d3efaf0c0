"""The exponential moving average of a network's weights: flatter, more robust, and what is released."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

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
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)
