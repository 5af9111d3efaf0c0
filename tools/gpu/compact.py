"""A checkpoint small enough to travel: the averaged weights in half precision, and what the optimiser knows by rows.

A checkpoint of a ResNet-50 is 470 MB: weights, average, best weights and two moments, all float32. Here the run goes on
from the average, which is the better network of the two. Of AdamW's moments the first, a memory of ten steps, starts
anew; the second is kept as one mean for each output channel, so that the first steps are neither too long nor too
short. So a run that has travelled is a good continuation and not the same bits; on one machine `--resume` is both.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from train.selection import NONE


def shrink(run: Path, out: Path) -> None:
    """RUN/checkpoint.pt and RUN/run.json, its configuration -> the file `out`. Raises DataError for a broken one."""
    whole = read_checkpoint(run)
    compact = {
        "step": whole.step,
        "fingerprint": whole.fingerprint,
        "start_sha256": whole.start_sha256,
        "legs": whole.legs,
        "config": (run / "run.json").read_text(),
        "average": {name: _halved(tensor) for name, tensor in whole.average.items()},
        "groups": whole.optimizer["param_groups"],
        "moments": {index: _by_rows(state) for index, state in whole.optimizer["state"].items()},
    }
    partial = out.with_name(f"{out.name}.partial")
    torch.save(compact, partial)
    partial.replace(out)


def grow(file: Path, run: Path) -> int:
    """A file of `shrink` -> RUN/checkpoint.pt and RUN/run.json, to be resumed; the steps that are done."""
    compact: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    average = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in compact["average"].items()
    }
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.json").write_text(compact["config"])
    state = {index: _from_rows(kept) for index, kept in compact["moments"].items()}
    checkpoint = Checkpoint(
        step=compact["step"],
        network=average,
        average=average,
        optimizer={"state": state, "param_groups": compact["groups"]},
        best=average,
        best_score=NONE,  # the next validation is the first of its kind; the best bundle so far travels apart
        stale=0,
        fingerprint=compact["fingerprint"],
        start_sha256=compact["start_sha256"],
        legs=compact.get("legs", ()),
    )
    save_checkpoint(run, checkpoint)
    return checkpoint.step


def _halved(tensor: Tensor) -> Tensor:
    """Kernels alone: statistics and biases are small, and may not fit into half precision."""
    return tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def _by_rows(state: dict[str, Tensor]) -> dict[str, Any]:
    if "exp_avg_sq" not in state:
        return {}
    squares = state["exp_avg_sq"]
    rows = squares.mean(dim=tuple(range(1, squares.ndim)), keepdim=True) if squares.ndim > 1 else squares
    return {"step": state["step"], "rows": rows.clone(), "shape": list(squares.shape), "stride": list(squares.stride())}


def _from_rows(kept: dict[str, Any]) -> dict[str, Tensor]:
    """With the strides of old: a fused optimiser wants them equal to the weights'."""
    if not kept:
        return {}
    first, second = (torch.empty_strided(kept["shape"], kept["stride"]) for _ in range(2))
    return {"step": kept["step"], "exp_avg": first.zero_(), "exp_avg_sq": second.copy_(kept["rows"].expand_as(second))}
