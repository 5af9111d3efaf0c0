"""Compiled passes (torch.compile). N batch, H height, W width.

Wrong values have been reported of compiled norms in eval mode (pytorch #181696), and a graph that serves both modes is
compiled anew at every change of mode (#110803). So the passes of the attack and those of training are compiled apart,
each for one batch shape, and each is first held against the plain one, gradients too.
"""

import torch
from torch import Tensor

from model.console import say
from train.precision import Passes
from train.proof import of_training, take_if_equal


def compile_passes(passes: Passes, x: Tensor) -> bool:
    """Compile `passes` for batches such as (N, 3, H, W) `x`; whether it is done (train/proof.py)."""
    kind = "training" if of_training(passes) else "the attack"
    say(f"compiling the passes of {kind}: up to two minutes")
    return take_if_equal(passes, x, lambda: torch.compile(passes.plain, dynamic=False), "compiled", "compilation")
