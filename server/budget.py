"""How many bytes may be held at once over all requests."""

from server.problems import Unavailable


class ByteBudget:
    """Bytes held at once, `max_bytes` at most.

    What has come counts, not what was announced: to announce costs nothing, and would shut others out.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held = 0

    def take(self, count: int) -> None:
        """Count bytes in. Raises Unavailable when there are too many already."""
        if self.held + count > self.max_bytes:
            raise Unavailable("Too many bytes are in hand already.", retry_after_s=1)
        self.held += count

    def give_back(self, count: int) -> None:
        """Count bytes out."""
        self.held -= count
