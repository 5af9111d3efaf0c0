"""Several processes as one: which rows of the global batch are mine, and what has to be equal everywhere.

`torchrun` starts them and says in the environment who is who; without it a run is alone and nothing here communicates.
Every process draws the random numbers of the whole batch and keeps its rows, normalises with the statistics of the
whole batch (train/global_norm.py) and averages its gradients with the others', so a run does not depend on how many
processes it has.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist
from torch import Generator, Tensor

from model.errors import ConfigError, DataError, TrainingError
from train.randomness import RowsGenerator, generator_of, seed_of

SILENCE: Final = timedelta(seconds=300)
"""After so long without an answer the others are taken for dead."""
PATIENCE: Final = timedelta(hours=12)
"""For what one process does while the others wait: decoding the photos, fetching weights."""
GONE: Final = "another process of this run has ended or does not answer"


class Ranks:
    """This process among `world`; `rank` 0 alone writes and speaks."""

    def __init__(self, rank: int = 0, world: int = 1, patient: dist.ProcessGroup | None = None) -> None:
        """`patient`: a gloo group of the same processes, for long waits."""
        self.rank, self.world, self._patient = rank, world, patient

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Which of `batch_size` rows are this process's; all have equally many."""
        if batch_size % self.world:
            raise ConfigError(f"batch_size = {batch_size} must be a multiple of the {self.world} processes")
        share = batch_size // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def generator_of(self, batch_size: int, *parts: int | str, device: torch.device | str = "cpu") -> Generator:
        """`train.randomness.generator_of` for this process's rows of a batch."""
        if self.world == 1:
            return generator_of(*parts, device=device)
        generator = RowsGenerator(device)
        generator.rows, generator.total = self.rows(batch_size), batch_size
        return generator.manual_seed(seed_of(*parts))

    def sum_(self, tensor: Tensor) -> Tensor:
        """`tensor`, after the others' have been added to it."""
        if self.world > 1:
            moved = tensor.to(_home(tensor.device))
            dist.all_reduce(moved)
            tensor.copy_(moved)
        return tensor

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replace floating point tensors of one type by their means over the processes, in a single message.

        All gradients of a ResNet-50 are 100 MB, once in a step of 2K + 7 passes: overlapping that with the backward
        pass, which DistributedDataParallel is for, would gain less than its hooks cost in clarity.
        """
        parts = list(tensors)
        if self.world == 1:
            return
        flat = self.sum_(torch.cat([part.flatten() for part in parts])) / self.world
        for part, mean in zip(parts, torch.split(flat, [part.numel() for part in parts]), strict=True):
            part.copy_(mean.view_as(part))

    def gather(self, row: Tensor) -> Tensor:
        """(...) -> (world, ...): every process's row."""
        if self.world == 1:
            return row[None]
        moved = row.to(_home(row.device)).contiguous()
        rows = [torch.empty_like(moved) for _ in range(self.world)]
        dist.all_gather(rows, moved)
        return torch.stack(rows).to(row.device)

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.world > 1:
            dist.barrier(group=self._patient)

    @contextmanager
    def one_after_the_first(self) -> Iterator[None]:
        """The block runs in the first process, then in the others, which find what it made."""
        if self.world == 1:
            yield
        elif self.first:
            done = torch.zeros(1)
            try:
                yield
                done += 1
            finally:
                dist.broadcast(done, 0, group=self._patient)
        else:
            done = torch.zeros(1)
            dist.broadcast(done, 0, group=self._patient)
            if not done:
                raise TrainingError("stopped with the first process, whose line says why")
            yield

    def agree(self, values: Iterable[float]) -> bool:
        """Whether all processes have the same values, of which each has as many; no number anywhere is the same too."""
        mine = torch.tensor(list(values), dtype=torch.float64)
        return self.world == 1 or bool(self.gather(mine).isclose(mine, rtol=0, atol=0, equal_nan=True).all())

    def assert_equal(self, values: Iterable[float], what: str) -> None:
        """Raise TrainingError when another process has come to other values, as by a broken sum."""
        if not self.agree(values):
            raise TrainingError(
                f"the processes of this run do not agree on {what}: do they all run the same versions on like machines?"
            )

    def assert_same(self, given: object, what: str) -> None:
        """Raise DataError when another process was given something else, as its `repr` has it."""
        if not self.agree(hashlib.sha256(repr(given).encode()).digest()):
            mend = "give all of them the same TOML, --data and --out"
            raise DataError(f"the processes of this run do not have the same {what}; {mend}")


ALONE: Final = Ranks()


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started; alone without it. A lost process becomes one line, TrainingError.

    Raises ConfigError where a variable of torchrun's is missing or makes no sense.

    After an error the group is left as it is: ending this process closes its connections, which tells the others.

    NCCL on CUDA, gloo on the CPU. `device` is this process's own.
    """
    world = _world()
    if world == 1:
        yield ALONE
        return
    try:
        backend = "nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)  # messages go from the current device
        dist.init_process_group(backend, timeout=SILENCE, device_id=device if device.type == "cuda" else None)
        yield Ranks(dist.get_rank(), world, dist.new_group(timeout=PATIENCE, backend="gloo"))
        dist.barrier()
        dist.destroy_process_group()
    except RuntimeError as error:
        if not _speaks_of_others(error):
            raise
        raise TrainingError(f"process {os.environ.get('RANK')}: {GONE}") from error


def _world() -> int:
    """How many processes there are, 1 without torchrun."""
    if (os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK", "0")) == ("1", "0"):
        return 1
    said = {name: os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK", "MASTER_PORT", "MASTER_ADDR")}
    world, rank, port, address = said.values()
    numbers = all(text.isdecimal() for text in (world, rank, port))
    if not numbers or int(rank) >= int(world) or not address:
        given = " ".join(f"{name}={text}" for name, text in said.items())
        raise ConfigError(f"{given}: start several processes with torchrun, which sets these; unset them for one")
    return int(world)


def own_device(name: str) -> torch.device:
    """`cuda` -> this process's own GPU of this machine.

    Raises ConfigError where there are more processes than GPUs, or a variable of torchrun's is missing or no number.
    """
    if name != "cuda":
        return torch.device(name)
    local = os.environ.get("LOCAL_RANK", "0" if _world() == 1 else "")
    if not local.isdecimal():
        raise ConfigError(f"LOCAL_RANK={local}: start several processes with torchrun, which sets it; unset it for one")
    index, gpus = int(local), torch.cuda.device_count()
    if index >= gpus:
        raise ConfigError(f"no GPU for process {index} of this machine, which has {gpus} GPUs; lower --nproc-per-node")
    return torch.device(name, index)


def _home(device: torch.device) -> torch.device:
    """Where a message that lies on `device` is sent from: NCCL takes GPU memory alone."""
    return torch.device("cuda") if dist.get_backend() == "nccl" else device


def _speaks_of_others(error: RuntimeError) -> bool:
    """gloo's errors are plain RuntimeErrors that name their source file."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
