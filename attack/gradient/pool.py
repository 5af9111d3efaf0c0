"""Many tasks that each ask for a few pictures, one model that wants full batches. M pictures of one question."""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key")
Result = TypeVar("Result")


def run_pooled(
    tasks: Iterable[tuple[Key, Generator[Tensor, Tensor, Result]]], model: Callable[[Tensor], Tensor], batch: int
) -> Iterator[tuple[Key, Result]]:
    """Run tasks side by side and yield each one's key and result as it ends.

    A task yields (M, 3, H, W) pictures and receives their (M, 2) logits. As many tasks are under way as fill `batch`
    pictures; when one ends, the next begins. Tasks that are not under way cost no memory. Each asks at least once.
    """
    waiting = iter(tasks)
    active: list[tuple[Key, Generator[Tensor, Tensor, Result], Tensor]] = []
    while True:
        while not active or sum(len(pictures) for *_, pictures in active) < batch:
            entry = next(waiting, None)
            if entry is None:
                break
            key, task = entry
            active.append((key, task, next(task)))
        if not active:
            return
        logits = model(torch.cat([pictures for *_, pictures in active]))
        answers = torch.split(logits, [len(pictures) for *_, pictures in active])
        still_active = []
        for (key, task, _), answer in zip(active, answers, strict=True):
            try:
                still_active.append((key, task, task.send(answer)))
            except StopIteration as end:
                yield key, end.value
        active = still_active
