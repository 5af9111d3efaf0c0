"""Which photos a step sees: every photo once before any of its class comes again, all from (seed, step)."""

import torch
from torch import Tensor

from train.randomness import generator_of


class Batches:
    """Batches of photo indices as a pure function of the step.

    Each class is an endless row of shuffled passes over its photos. The rows' photos in turn are one row, and step t
    takes its t-th piece. Nothing is kept from step to step, so a run resumes at any step, and any number of processes
    agree without talking.
    """

    def __init__(self, labels: Tensor, batch_size: int, seed: int, *, balanced: bool = True) -> None:
        """`labels`: (N,) class indices from 0, all present; balanced, `batch_size` is at least their number.

        Not balanced: all photos are one row, so that a class comes as often as there are photos of it.
        """
        labels = labels if balanced else torch.zeros_like(labels)
        self.classes = [(labels == label).nonzero().flatten() for label in range(int(labels.max()) + 1)]
        self.batch_size, self.seed = batch_size, seed
        self._passes: dict[int, tuple[int, Tensor]] = {}

    def at(self, step: int) -> Tensor:
        """(batch_size,) photo indices; the classes take turns, so that parts of a batch are balanced too."""
        places = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)
        indices = torch.empty_like(places)
        for label in range(len(self.classes)):
            mine = places % len(self.classes) == label
            rows = places[mine] // len(self.classes)
            indices[mine] = self._piece(label, int(rows[0]), len(rows))
        return indices

    def _piece(self, label: int, start: int, wanted: int) -> Tensor:
        pieces = []
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
