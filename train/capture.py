"""Passes captured as CUDA graphs: the launches of a pass become one. N batch, H height, W width.

A ResNet-50 launches hundreds of kernels a pass and more for its gradient, and a GPU that is done with one before the
processor has launched the next waits. A graph repeats them all from fixed memory, so each view of a step has its own:
what the first keeps for its gradient must outlast the second. By `torch.cuda.make_graphed_callables`.
"""

from collections.abc import Callable, Iterator
from itertools import cycle

import torch
from torch import Tensor

from train.precision import Passes
from train.proof import of_training, take_if_equal
from train.trades import attack_mode

VIEWS = 2
"""Passes of training before their gradients are taken."""


def capture_passes(passes: Passes, x: Tensor) -> bool:
    """Capture `passes`, compiled or not, for batches such as (N, 3, H, W) `x`; whether it is done (train/proof.py).

    Batches of another shape or in another mode go on as before. The weights may change in place, not be replaced.
    """
    return take_if_equal(passes, x, lambda: _captured(passes, x), "captured", "capture")


def _captured(passes: Passes, x: Tensor) -> Callable[[Tensor], Tensor]:
    before, training, shape = passes.run, of_training(passes), x.shape
    graphs = cycle(list(_graphs(passes, x)))

    def run(batch: Tensor) -> Tensor:
        fits = batch.shape == shape and passes.training == training
        return next(graphs)(batch) if fits else before(batch)

    return run


def _graphs(passes: Passes, x: Tensor) -> Iterator[Passes]:
    """Of the passes of training one for each view, of an attack's a single one, with its gradient of the input.

    Captured with the pictures in another order: what is held against the plain passes then is not what it has seen.
    """
    if of_training(passes):
        passes.train()
        for _ in range(VIEWS):
            yield _graph(passes, x.flip(0))
    else:
        with attack_mode(passes):
            yield _graph(passes, x.flip(0).requires_grad_(True))


def _graph(passes: Passes, x: Tensor) -> Passes:
    """Its own pool of memory: one graph's gradient may be taken after another's, in any order."""
    own = Passes(passes.network, bfloat16=passes.autocast)
    own.run = passes.run
    torch.cuda.make_graphed_callables(own, (x,))  # in place: its forward is the graph from now on
    return own
