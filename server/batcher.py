"""Batches without a clock: work goes out at once when the worker is idle, and gathers while it is busy.

A slot is the place of one image in the memory shared with the worker. Slots bound everything: an image takes one before
it is decoded and gives it back with its label, so no slot free means that the server is full.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model.labels import LABELS
from server.problems import Unavailable


@dataclass(eq=False, slots=True)
class Job:
    """The images of one request. `done` gets True when each has its label, or a Problem."""

    slots: Sequence[int]
    done: "asyncio.Future[bool]"
    labels: list[str] = field(default_factory=list)
    pending: int = 0
    queued_at: float = 0.0
    queue_s: float = 0.0
    inference_s: float = 0.0


@dataclass(eq=False, slots=True)
class _Image:
    job: Job
    index: int
    attempts: int = 0


class Batcher:
    """The queue before one worker. `send` takes the slot numbers of a batch; all calls come from the event loop."""

    def __init__(self, slots: int, max_batch: int, on_batch: Callable[[int, float], None]) -> None:
        self.max_batch = max_batch
        self.on_batch = on_batch
        """Told the size of each finished batch and the seconds of inference."""
        self.send: Callable[[list[int]], None] | None = None
        """Set while a worker is there."""
        self._free = list(range(slots))
        self._waiting: deque[_Image] = deque()
        self._flight: list[_Image] = []
        self._flight_at = 0.0
        self._seconds_per_image = 0.05
        self._capacity = slots

    @property
    def in_house(self) -> int:
        """Images that hold a slot."""
        return self._capacity - len(self._free)

    @property
    def flight_s(self) -> float:
        """Seconds since the batch in the worker was sent; 0 when there is none."""
        return time.monotonic() - self._flight_at if self._flight else 0.0

    def retry_after_s(self) -> int:
        """Whole seconds in which the images in the house should be done."""
        return max(1, math.ceil(self.in_house * self._seconds_per_image))

    def reserve(self, count: int) -> list[int]:
        """Take `count` slots. Raises Unavailable when the server is full."""
        if count > len(self._free):
            raise Unavailable(
                f"The queue is full: {self.in_house} of {self._capacity} places are taken and {count} asked for.",
                retry_after_s=self.retry_after_s(),
            )
        return [self._free.pop() for _ in range(count)]

    def release(self, slots: Sequence[int]) -> None:
        """Give slots back that never became a job."""
        self._free.extend(slots)

    def submit(self, slots: Sequence[int]) -> Job:
        """Queue the images whose pixels lie in `slots`, which now belong to the job."""
        job = Job(slots, asyncio.get_running_loop().create_future(), [""] * len(slots), len(slots), time.monotonic())
        self._waiting.extend(_Image(job, index) for index in range(len(slots)))
        self.dispatch()
        return job

    def drop(self, job: Job, problem: Exception) -> None:
        """End a job whose client has gone or whose time is up; what is in the worker finishes unheard."""
        if not job.done.done():
            job.done.set_exception(problem)
            job.done.exception()  # read here: nobody may be left to await it
            kept = [image for image in self._waiting if image.job is not job]
            self._free.extend(image.job.slots[image.index] for image in self._waiting if image.job is job)
            self._waiting = deque(kept)

    def dispatch(self) -> None:
        """Send a batch if there is a worker, it is idle and anything waits."""
        if self.send is None or self._flight or not self._waiting:
            return
        self._flight = self._next_batch()
        self._flight_at = time.monotonic()
        for image in self._flight:
            if image.job.queue_s == 0.0:
                image.job.queue_s = self._flight_at - image.job.queued_at
        self.send([image.job.slots[image.index] for image in self._flight])

    def finish(self, inference_s: float, labels: bytes) -> None:
        """Hand out the labels of the batch in the worker, one byte each, and send the next one."""
        flight, self._flight = self._flight, []
        self._seconds_per_image += 0.1 * (inference_s / len(flight) - self._seconds_per_image)
        self.dispatch()
        self.on_batch(len(flight), inference_s)
        for image, label in zip(flight, labels, strict=True):
            job = image.job
            self._free.append(job.slots[image.index])
            job.labels[image.index] = LABELS[label]
            job.pending -= 1
            if job.pending == 0 and not job.done.done():
                job.inference_s = time.monotonic() - job.queued_at - job.queue_s
                job.done.set_result(True)

    def worker_lost(self) -> None:
        """The worker died: its images wait again, each to be tried once more and alone."""
        self.send = None
        flight, self._flight = self._flight, []
        for image in reversed(flight):
            image.attempts += 1
            if image.attempts > 1 or image.job.done.done():
                self._free.append(image.job.slots[image.index])
                self.drop(image.job, Unavailable("The worker failed twice with this picture in hand.", retry_after_s=5))
            else:
                self._waiting.appendleft(image)

    def fail_all(self, problem: Unavailable) -> None:
        """End every job that waits."""
        for image in list(self._waiting):
            self.drop(image.job, problem)

    def _next_batch(self) -> list[_Image]:
        batch = [self._waiting.popleft()]
        while not batch[0].attempts and self._waiting and len(batch) < self.max_batch:
            if self._waiting[0].attempts:
                break
            batch.append(self._waiting.popleft())
        return batch
