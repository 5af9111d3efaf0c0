"""How many requests an endpoint takes at once, found by asking, as TCP does (additive increase, halving); and when."""

import threading
import time
from typing import Final

HALVE_EVERY_S: Final = 0.5


class Pace:
    """The number of requests in flight that the endpoint bears, and what went wrong so far. Thread-safe.

    One more slot after as many answers as there are slots; half of them when the endpoint says 429 or 503, at most
    twice a second, since the requests in flight all hear of the same trouble. What it asks for by Retry-After holds
    for all requests: it means the client.
    """

    def __init__(self, slots: int = 2, max_slots: int = 8) -> None:
        self.slots, self.max_slots = min(slots, max_slots), max_slots
        self.retries = self.busy = self.answered = 0
        self._since_growth = 0
        self._halved_at = -HALVE_EVERY_S
        self._not_before = 0.0
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """A request was answered."""
        with self._lock:
            self.answered += 1
            self._since_growth += 1
            if self._since_growth >= self.slots < self.max_slots:
                self.slots, self._since_growth = self.slots + 1, 0

    @property
    def pause_s(self) -> float:
        """Seconds for which nothing is to be sent."""
        return max(0.0, self._not_before - time.monotonic())

    def failed(self, busy: bool, pause_s: float = 0.0) -> None:
        """A request must be sent again; `busy` where the endpoint asked for fewer, `pause_s` for none so long."""
        with self._lock:
            self.retries += 1
            self.busy += busy
            self._not_before = max(self._not_before, time.monotonic() + pause_s)
            if busy and time.monotonic() - self._halved_at >= HALVE_EVERY_S:
                self.slots, self._since_growth = max(1, self.slots // 2), 0
                self._halved_at = time.monotonic()
