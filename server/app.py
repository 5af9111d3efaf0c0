"""The HTTP service: routes and their answers. `create_app` needs nothing but settings and a bundle."""

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from fastapi import FastAPI, Request, Response

from server.gate import Gate
from server.openapi import openapi_document
from server.pages import page
from server.problems import Problem
from server.service import Service


def create_app(service: Service, on_failure: Callable[[], None] = lambda: None) -> Gate:
    """The service as an ASGI application; `on_failure` is called when its model cannot be opened at the start."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        watcher = asyncio.create_task(_first_warm_up(service, on_failure))
        with _reload_on_hangup(service):
            yield
        watcher.cancel()
        service.close()

    app = FastAPI(title="trades-bob", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    app.openapi = partial(openapi_document, service.settings.images_per_request)  # type: ignore[method-assign]  # by hand: the bodies are no pydantic models
    _add_pages(app)
    _add_operations(app, service)
    app.add_exception_handler(Problem, _refuse)
    return Gate(app, service)


async def _first_warm_up(service: Service, on_failure: Callable[[], None]) -> None:
    if not await service.opened():
        on_failure()
    gc.collect()
    gc.freeze()  # what was imported and set up stays: no collection need look at it again


@contextmanager
def _reload_on_hangup(service: Service) -> Iterator[None]:
    """SIGHUP opens the bundle anew, where the platform has it and this is the main thread."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(service.reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _add_pages(app: FastAPI) -> None:
    pages = {path: page(name) for path, name in (("/", "index"), ("/docs", "docs"))}

    @app.get("/")
    async def index() -> Response:
        """A page where a person drops a photo and sees the label."""
        return pages["/"]

    @app.get("/docs")
    async def docs() -> Response:
        """What the interface has, and a form to try it."""
        return pages["/docs"]


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.get("/livez")
    async def livez() -> Mapping[str, str]:
        """The process answers."""
        return {"status": "live"}

    @app.get("/readyz")
    async def readyz() -> Mapping[str, str]:
        """The worker is warm and shows signs of life; else 503 with the reason."""
        service.expect_ready()
        return {"status": "ready"}

    @app.get("/info")
    async def info() -> Mapping[str, object]:
        """Classes, input size and resize rule, hash of the weights, limits."""
        return service.info()

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(service.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refuse(request: Request, error: Exception) -> Response:
    """A problem as the answer of a route."""
    assert isinstance(error, Problem)
    problem, visit = error, request.scope["visit"]
    visit.fields["reason"] = problem.slug
    response = Response(problem.body(visit.request_id), status_code=problem.status)
    response.raw_headers.extend(problem.headers())
    return response
