"""Which photos a step sees: half of each class, every photo once before any comes again, all from (seed, step)."""

import torch
from torch import Tensor

from train.randomness import generator_of


class BalancedBatches:
    """Batches of photo indices as a pure function of the step.

    Each class is an endless row of shuffled passes over its photos; step t takes the t-th piece of both rows. Nothing
    is kept from step to step, so a run resumes at any step, and any number of processes agree without talking.
    """

    def __init__(self, labels: Tensor, batch_size: int, seed: int) -> None:
        """`labels`: (N,) class indices 0 or 1, both present. `batch_size` even."""
        self.classes = [(labels == label).nonzero().flatten() for label in (0, 1)]
        self.half = batch_size // 2
        self.seed = seed
        self._passes: dict[int, tuple[int, Tensor]] = {}

    def at(self, step: int) -> Tensor:
        """(batch_size,) photo indices; the classes alternate, so that any even share of a batch is balanced."""
        halves = [self._piece(label, step * self.half) for label in (0, 1)]
        return torch.stack(halves, dim=1).flatten()

    def _piece(self, label: int, start: int) -> Tensor:
        pieces, wanted = [], self.half
        size = len(self.classes[label])
        while wanted:
            number, offset = divmod(start, size)
            piece = self._pass(label, number)[offset : offset + wanted]
            pieces.append(piece)
            start, wanted = start + len(piece), wanted - len(piece)
        return torch.cat(pieces)

    def _pass(self, label: int, number: int) -> Tensor:
        """The `number`-th shuffled pass; the latest is kept because hundreds of steps share it."""
        if self._passes.get(label, (-1,))[0] != number:
            generator = generator_of(self.seed, "pass", label, number)
            order = torch.randperm(len(self.classes[label]), generator=generator)
            self._passes[label] = (number, self.classes[label][order])
        return self._passes[label][1]
