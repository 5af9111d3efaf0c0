"""SIGTERM and Ctrl-C as a request: the run saves after the step at hand, then ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """What was asked so far."""

    number = 0
    """Of the signal that came; 0 before one has."""


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Until the block ends the first signal is only noted; a second one meets the handlers of before, and ends at once.

    A signal that is ignored stays so. Outside of the main thread, where Python takes no handlers, nothing is noted.
    """
    request = StopRequest()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS if main}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        request.number = number
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
    if request.number:  # it came too late for the block to answer it
        signal.raise_signal(request.number)
