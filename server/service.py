"""Requests to labels: what the routes call. Knows bodies, pixels and the engine, and nothing of HTTP's routes.

N images, H height, W width, S side of the square.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import Receive

from model.pixels import RESIZE_RULE
from server.batcher import Job
from server.bodies import FORM_TYPE, Body, BodyBudget, content_type
from server.bounds import Bounds
from server.contents import Parse, one_picture, pictures
from server.decode_pool import Decode, DecodePool, Outcome, Work
from server.engine import Engine
from server.limits import Admission, Keys, RateLimiter
from server.metrics import Metrics
from server.problems import Problem, Unavailable
from server.process import WorkerConfig, WorkerError
from server.settings import Settings

OPEN_RUNTIME: Final = "model.runtime:open_runtime"
_log = structlog.get_logger()


@dataclass
class Answer:
    """Labels and pixel hashes in the order of the images; None where that image was bad, which `problems` tells."""

    labels: list[str | None] = field(default_factory=list)
    hashes: list[str | None] = field(default_factory=list)
    problems: dict[int, Problem] = field(default_factory=dict)
    decode_s: float = 0.0
    queue_s: float = 0.0
    inference_s: float = 0.0

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], decode_s: float) -> "Answer":
        """An answer whose labels are still to come."""
        problems = {index: one for index, one in enumerate(outcomes) if isinstance(one, Problem)}
        hashes = [None if isinstance(one, Problem) else one for one in outcomes]
        return cls([None] * len(outcomes), hashes, problems, decode_s)

    def add(self, places: Sequence[int], job: Job) -> None:
        """Fill in the labels of a job that is done, whose images have these places."""
        self.queue_s, self.inference_s = job.queue_s, job.inference_s
        for index, label in zip(places, job.labels, strict=True):
            self.labels[index] = label


class Service:
    """The engine in use, the decoding threads and the limits."""

    def __init__(self, settings: Settings, bundle: Path, factory: str = OPEN_RUNTIME) -> None:
        self.settings, self.bundle, self.factory = settings, bundle, factory
        self.metrics = Metrics()
        self.budget = BodyBudget(settings.bytes_per_body, settings.max_buffered_bytes, settings.body_timeout_s)
        keys = Keys.read(settings.api_keys_file) if settings.api_keys_file else None
        self.admission = Admission(keys, RateLimiter(settings.rate_limit_per_s, settings.rate_burst))
        self.engine: Engine
        self.fatal: WorkerError | None = None
        """Why the model could not be opened at the start; the service ends then."""
        self._reloading = asyncio.Lock()
        self._pool = DecodePool(settings.decode_threads, settings.pixels_per_picture, settings.max_decoding_pixels)

    def start(self) -> None:
        """Start loading the model; requests are answered 503 until it is warm."""
        self.engine = self._new_engine()
        self.engine.start()

    async def opened(self) -> bool:
        """Wait for the end of the first warm-up; False, with `fatal` set, when the model cannot be opened."""
        try:
            await self.engine.opened()
        except WorkerError as error:
            self.fatal = error
        return self.fatal is None

    async def reload(self) -> None:
        """Open the bundle anew and change over when it is warm; each request ends on the engine it began on.

        A bundle that cannot be opened is logged, and the old one serves on.
        """
        async with self._reloading:
            fresh = self._new_engine()
            fresh.start()
            try:
                async with asyncio.timeout(self.settings.load_timeout_s):
                    await fresh.opened()
            except (WorkerError, TimeoutError) as error:
                _log.error("reload failed", reason=str(error) or "the new worker did not become ready")
                fresh.close()
                return
            except asyncio.CancelledError:  # the service ends, and its worker would outlive it
                fresh.close()
                raise
            old, self.engine = self.engine, fresh
            _log.info("reloaded", weights_sha256=fresh.hello.weights_sha256 if fresh.hello else None)
            await old.drain()
            old.close()

    def close(self) -> None:
        """Let the worker and the threads go."""
        self.engine.close()
        self._pool.close()

    def info(self) -> dict[str, object]:
        """What /info tells. Raises Unavailable before the first warm-up has ended."""
        hello = self.engine.hello
        if hello is None:
            raise Unavailable("The model is being loaded.", retry_after_s=5)
        return {
            "classes": hello.classes,
            "input_size": hello.input_size,
            "resize_rule": RESIZE_RULE,
            "weights_sha256": hello.weights_sha256,
            "limits": {
                "max_body_bytes": self.settings.bytes_per_body,
                "max_pixels": self.settings.pixels_per_picture,
                "max_batch": self.settings.images_per_request,
                "rate_limit_per_s": self.settings.rate_limit_per_s,
                "rate_burst": self.settings.rate_burst,
                "request_timeout_s": self.settings.request_timeout_s,
            },
        }

    def expect_ready(self) -> None:
        """Raises Unavailable, with the reason, unless work can be done now."""
        reason = self.engine.not_ready()
        if reason is not None:
            raise Unavailable(f"Not ready: {reason}.", retry_after_s=2)

    def metrics_text(self) -> bytes:
        """The Prometheus text, with the gauges of this moment."""
        self.metrics.ready.set(self.engine.not_ready() is None)
        self.metrics.in_house.set(self.engine.batcher.in_house)
        self.metrics.restarts.set(self.engine.restarts)
        return self.metrics.text()

    def count_refusal(self, problem: Problem, request_id: str) -> None:
        """Count and log a request that was refused before it was one."""
        self.metrics.rejections.labels(problem.slug).inc()
        _log.info("refused", request_id=request_id, reason=problem.slug)

    async def predict(self, headers: Headers, receive: Receive, address: str) -> Answer:
        """One image of any accepted type -> an answer with one label. Raises a Problem or ClientGone."""
        answer = await self._answer(headers, receive, address, one_picture)
        for problem in answer.problems.values():
            raise problem
        return answer

    async def predict_batch(self, headers: Headers, receive: Receive, address: str) -> Answer:
        """Many images -> an answer with a label each; a bad one among them fails alone.

        Raises a Problem or ClientGone; the problem of the first image if every one is bad.
        """
        answer = await self._answer(headers, receive, address, partial(pictures, self.settings.images_per_request))
        if len(answer.problems) == len(answer.labels):
            raise answer.problems[0]
        return answer

    async def _answer(self, headers: Headers, receive: Receive, address: str, parse: Parse) -> Answer:
        caller = self.admission.caller(headers, address)
        reader = Body(self.budget, receive, headers.get("content-length"))
        with self.admission.charge(caller) as charge, reader:
            kind, boundary = content_type(headers)
            parse_body = partial(parse, kind, boundary, await reader.read())
            work = Work()
            with Bounds(work, receive, self.settings.request_timeout_s, self._retry_after_s):
                decoders = await work.in_thread(self._pool, parse_body) if kind == FORM_TYPE else parse_body()
                charge.more(len(decoders) - 1)
                return await self._classify(work, decoders)

    async def _classify(self, work: Work, decoders: list[Decode]) -> Answer:
        """Decode into slots beside the loop, queue what is good, and wait for the labels."""
        engine = self.engine  # a reload in the meantime changes self.engine; this request stays with its own
        started = time.perf_counter()
        outcomes = await work.decode(engine.batcher, self._pool, decoders, engine.memory.slots)
        answer = Answer.of(outcomes, time.perf_counter() - started)
        self.metrics.decode.observe(answer.decode_s)
        good = [index for index in range(len(outcomes)) if index not in answer.problems]
        job = await work.label(good)
        if job is not None:
            self.metrics.queue.observe(job.queue_s)
            self.metrics.count_labels(job.labels)
            answer.add(good, job)
        return answer

    def _retry_after_s(self) -> int:
        return self.engine.batcher.retry_after_s()

    def _new_engine(self) -> Engine:
        settings = self.settings
        options = {
            "kind": settings.runtime,
            "device": settings.device,
            "threads": settings.threads,
            "half_precision_photos": settings.half_precision_photos and str(settings.half_precision_photos),
        }
        config = WorkerConfig(self.bundle, settings.max_queue, options, self.factory)
        return Engine(
            config,
            settings.load_timeout_s,
            settings.worker_timeout_s,
            settings.request_timeout_s,
            self.metrics.count_batch,
        )
