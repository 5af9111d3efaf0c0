"""Pictures by the request, several under way. N batch, H height, W width."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from attack.wire.pace import Pace
from model.errors import RefusedError
from model.pixels import Pixels


async def spread(
    pixels: Pixels, step: int, pace: Pace, ask: Callable[[Pixels], Coroutine[Any, Any, list[str]]]
) -> list[str]:
    """uint8 (N, H, W, 3) -> N labels: `step` pictures a request, as many side by side as the endpoint bears by then.

    Raises what the first of them to fail has raised, a RefusedError with the labels so far; the others are given up.
    """
    tasks: list[asyncio.Task[list[str]]] = []
    flying: set[asyncio.Task[list[str]]] = set()
    try:
        for start in range(0, len(pixels), step):
            while len(flying) >= pace.slots:
                done, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            tasks.append(asyncio.create_task(ask(pixels[start : start + step])))
            flying.add(tasks[-1])
        return [label for labels in await asyncio.gather(*tasks) for label in labels]
    except RefusedError as error:
        error.answered = [label for task in tasks for label in _labels_of(task, step)]
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _labels_of(task: asyncio.Task[list[str]], step: int) -> Sequence[str | None]:
    """The labels of a request of `step` pictures by now, None for those that have none."""
    error = task.exception() if task.done() else None
    labels = task.result() if task.done() and error is None else getattr(error, "answered", ())
    return [*labels, *[None] * (step - len(labels))]
