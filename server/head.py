"""The bounds of a request's head, and of what the HTTP parser keeps before it tells of it."""

from typing import Final

from server.problems import HeadTooLarge

MAX_HEAD_BYTES: Final = 32 * 2**10
"""Bytes of a head, each of whose lines counts `LINE_BYTES` besides; and of a line that has no end yet."""
LINE_BYTES: Final = 128
"""What a header line takes in memory beside its characters: four bytes make one."""


class Head:
    """How large the heads that come on one connection are."""

    def __init__(self) -> None:
        self.bytes = 0
        """Those of the present head, and of the trailer that belongs to it."""
        self._untold_bytes = 0

    def begin(self) -> None:
        """The parser has told of the first byte of another head."""
        self.bytes = self._untold_bytes = 0

    def come(self, count: int) -> None:
        """So many bytes are given to the parser. Raises HeadTooLarge if it still keeps too many that came before."""
        _expect(self._untold_bytes)
        self._untold_bytes += count

    def tell(self, count: int = 0) -> None:
        """It has told of so many bytes of the head, or of something else. Raises HeadTooLarge."""
        self._untold_bytes = 0
        self.bytes += count
        _expect(self.bytes)

    def tell_line(self, count: int) -> None:
        """It has told of a header line of so many bytes. Raises HeadTooLarge."""
        self.tell(count + LINE_BYTES)


def _expect(count: int) -> None:
    if count > MAX_HEAD_BYTES:
        raise HeadTooLarge(f"The head of a request may have {MAX_HEAD_BYTES} bytes.")
