"""Random numbers for batches of pictures, each picture with a seed of its own. N batch.

A picture gets the same numbers whatever batch it is in and whatever device it is on: they are drawn on the CPU, one
generator a picture, and moved.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor


class Draws:
    """One stream of random numbers for each of N pictures."""

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.generators = [Generator().manual_seed(seed) for seed in seeds]
        self.device = torch.device(device)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(N, *shape), uniform in [low, high)."""
        return self._stack(lambda generator: torch.rand(shape, generator=generator)) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        """(N, *shape), standard normal."""
        return self._stack(lambda generator: torch.randn(shape, generator=generator))

    def integers(self, *shape: int, low: int, high: int) -> Tensor:
        """(N, *shape) int64, uniform in low ... high - 1."""
        return self._stack(lambda generator: torch.randint(low, high, shape, generator=generator))

    def poisson(self, rates: Tensor) -> Tensor:
        """(N, ...) rates -> (N, ...) counts."""
        rows = [torch.poisson(rate, generator=g) for rate, g in zip(rates.cpu(), self.generators, strict=True)]
        return torch.stack(rows).to(self.device)

    def _stack(self, draw: Callable[[Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self.generators]).to(self.device)
