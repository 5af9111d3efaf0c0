"""Runs the service until SIGTERM: binds, serves, drains."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import uvicorn

from model.errors import BundleError, ConfigError, TradesBobError
from server.app import create_app
from server.budget import ByteBudget
from server.logs import configure_logs
from server.problems import Problem
from server.protocol import BoundedProtocol
from server.service import OPEN_RUNTIME, Service
from server.settings import Settings

RELEASE: Final = Path(__file__).resolve().parent.parent / "model" / "release"
"""The released weights, beside the package `model`."""
BACKLOG: Final = 1024

_log = structlog.get_logger()


def run(settings: Settings, factory: str = OPEN_RUNTIME) -> None:
    """Serve until told to end. Raises BundleError or ConfigError for what the user gave, before or after binding.

    `factory` names the function `module:name` that opens the model.
    """
    bundle = _bundle(settings)
    listener = _listen(settings)
    log = configure_logs()
    service = Service(settings, bundle, factory)
    server: uvicorn.Server

    def stop(*_: object) -> None:
        server.should_exit = True

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service, on_failure=stop),
            http=bounded_protocol(settings, service.count_refusal),
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # fractions do as well
            timeout_graceful_shutdown=settings.drain_timeout_s,  # type: ignore[arg-type]
        )
    )
    # Until uvicorn hears of it itself; once it has drained it raises the signal again: end with 0, not 143.
    signal.signal(signal.SIGTERM, stop)
    host, port = listener.getsockname()[:2]
    _log.info("listening", url=f"http://{host}:{port}", bundle=str(bundle))
    try:
        server.run(sockets=[listener])
    finally:
        log.drain()
    if service.fatal is not None:
        raise (BundleError if service.fatal.exit_code == BundleError.exit_code else TradesBobError)(str(service.fatal))


def bounded_protocol(settings: Settings, on_refusal: Callable[[Problem, str], None]) -> type[BoundedProtocol]:
    """The protocol class with the bounds of these settings; `on_refusal` hears what is refused here, and its id."""

    class Bounded(BoundedProtocol):
        patience_s = settings.body_timeout_s
        waiting_budget = ByteBudget(settings.max_buffered_bytes)
        refused = staticmethod(on_refusal)

    Bounded.settings = settings
    return Bounded


def _bundle(settings: Settings) -> Path:
    bundle = settings.bundle or RELEASE
    if not (bundle / "bundle.json").is_file():
        if settings.bundle is None:
            raise BundleError("no released weights in this installation; name a bundle with --bundle DIR")
        raise BundleError(f"{bundle}: no bundle there (it holds bundle.json and model.safetensors)")
    return bundle


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error
