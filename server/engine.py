"""One model in service: its worker process, its queue, and the care that keeps the worker alive."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Final

import structlog

from server.batcher import Batcher
from server.problems import Unavailable
from server.process import Hello, WorkerConfig, WorkerError, WorkerProcess, shared_file
from server.worker import Memory

WATCH_EVERY_S: Final = 0.25
MAX_BACKOFF_S: Final = 30.0

_log = structlog.get_logger()


class Engine:
    """A worker that is started anew when it dies or hangs, before a queue that outlives it."""

    def __init__(
        self,
        config: WorkerConfig,
        load_timeout_s: float,
        worker_timeout_s: float,
        request_timeout_s: float,
        on_batch: Callable[[int, float], None],
    ) -> None:
        self.config = config
        self.load_timeout_s, self.worker_timeout_s = load_timeout_s, worker_timeout_s
        self.request_timeout_s = request_timeout_s
        self.batcher = Batcher(config.slots, 1, on_batch)
        self.hello: Hello | None = None
        self.restarts = 0
        self.failure: WorkerError | None = None
        """Why the first start failed; nothing is tried again then."""
        self._memory: Memory | None = None
        self._memory_fd = shared_file()
        self._worker: WorkerProcess | None = None
        self._opened = asyncio.Event()
        self._deaths_in_a_row = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self) -> None:
        """Start the worker and the watch over it; `opened` waits for the end of its warm-up."""
        self._start_worker()
        self._spawn(self._watch())

    async def opened(self) -> None:
        """Wait until the model is warm. Raises WorkerError when it cannot be opened."""
        await self._opened.wait()
        if self.failure is not None:
            raise self.failure

    @property
    def memory(self) -> Memory:
        """The slots to write pixels into. Raises Unavailable before the first warm-up has ended."""
        if self._memory is None:
            raise Unavailable("The model is being loaded.", retry_after_s=5)
        return self._memory

    def not_ready(self) -> str | None:
        """Why no work can be done now; None when it can."""
        if self._worker is None or not self._worker.alive:
            return "the worker is being restarted"
        if self._worker.hello is None:
            return "the model is being loaded"
        if not self._worker.ready:
            return "the worker shows no sign of life"
        if self.batcher.flight_s > self.request_timeout_s:  # its heartbeat is a thread's, and native code lets it beat
            return "the worker is stuck in a batch"
        return None

    async def drain(self) -> None:
        """Wait until no image is in the house any more."""
        while self.batcher.in_house:
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """End the worker and what still waits: nobody is left to be answered, or the time to do so is over."""
        self._closed = True
        self.batcher.fail_all(Unavailable("The service is shutting down.", retry_after_s=5))
        for task in self._tasks:
            task.cancel()
        if self._worker is not None and self._worker.alive:
            self._worker.kill()  # it may be loading a model, and would hear of a hang-up only then
            self._worker.close()
        os.close(self._memory_fd)

    def _start_worker(self) -> None:
        digest = self.hello.bundle_digest if self.hello else None  # a new worker takes no other bundle than the first
        self._worker = WorkerProcess(
            self.config, self._memory_fd, digest, self._on_hello, self._on_labels, self._on_death
        )
        _log.info("worker started", pid=self._worker.process.pid)

    def _on_hello(self, worker: WorkerProcess) -> None:
        assert worker.hello is not None
        self.hello = worker.hello
        if self._memory is None:
            self._memory = worker.memory
        self._deaths_in_a_row = 0
        self.batcher.max_batch = worker.hello.batch_sizes[-1]
        self.batcher.send = worker.send
        self.batcher.dispatch()
        self._opened.set()
        _log.info("worker ready", seconds=round(time.monotonic() - worker.started, 2), **vars(worker.hello))

    def _on_labels(self, _worker: WorkerProcess, inference_s: float, labels: bytes) -> None:
        self.batcher.finish(inference_s, labels)

    def _on_death(self, worker: WorkerProcess, error: WorkerError | None) -> None:
        self.batcher.worker_lost()
        if self.hello is None and error is not None:
            self.failure = error
            self._opened.set()
            return
        self.restarts += 1
        self._deaths_in_a_row += 1
        _log.error("worker died", pid=worker.process.pid, reason=str(error or "it ended by itself or was killed"))
        self._spawn(self._restart())

    async def _restart(self) -> None:
        if self._deaths_in_a_row > 1:
            await asyncio.sleep(min(MAX_BACKOFF_S, 2.0 ** (self._deaths_in_a_row - 2)))
        if self._closed:
            return
        try:
            self._start_worker()
        except OSError as error:  # there is no memory, descriptor or place for a process at the moment
            self._deaths_in_a_row += 1
            _log.error("worker not started", reason=str(error))
            self._spawn(self._restart())

    async def _watch(self) -> None:
        """Kill a worker that hangs: loading, in a batch, or without a sign of life, each for longer than it may."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            worker = self._worker
            if worker is None or not worker.alive:
                continue
            limit_s = self.load_timeout_s if worker.hello is None else self.worker_timeout_s
            if max(self.batcher.flight_s, worker.heartbeat_age_s) > limit_s:
                _log.error("worker hangs", pid=worker.process.pid, batch_s=round(self.batcher.flight_s, 1))
                worker.kill()

    def _spawn(self, work: "asyncio.coroutines.Coroutine") -> None:  # type: ignore[name-defined]
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
