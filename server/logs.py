"""Structured logs: one JSON object a line on stderr, the server's own and uvicorn's alike."""

import asyncio
import contextlib
import logging
import sys
import warnings
from typing import Final, TextIO

import structlog
from structlog.typing import Processor

WRITE_EVERY_S: Final = 0.05
# Without the values of variables: pixels and keys have no place in a log.
_TRACEBACKS: Processor = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


class Together:
    """A stream whose lines the event loop writes in one go, a moment later: a write for each would cost a request
    more than its line. Lines from elsewhere than the event loop are written at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, text: str) -> int:
        """Take a line, or a part of one."""
        self._lines.append(text)
        return len(text)

    def flush(self) -> None:
        """Have the lines written soon."""
        if self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self.drain)
            except RuntimeError:
                self.drain()

    def drain(self) -> None:
        """Write the lines now. What a full disk, or a reader that has gone, does not take is lost, and nothing else."""
        self._timer = None
        lines, self._lines = self._lines, []
        with contextlib.suppress(OSError):
            self._stream.write("".join(lines))
            self._stream.flush()


def configure_logs() -> Together:
    """Send structlog and the standard library's logging through one JSON renderer; drain what it returns at the end."""
    stream = Together(sys.stderr)
    shared: list[Processor] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso")]
    structlog.configure(
        processors=[
            *shared,
            _TRACEBACKS,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(stream),  # type: ignore[arg-type]  # it writes and flushes, no more
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _TRACEBACKS,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        )
    )
    warnings.simplefilter("ignore")  # those of decoders quote hostile files: no JSON, and Python keeps each new one
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # the gate logs requests itself, with their ids
    return stream
