"""How an answer is read: not more of it than labels need, and not for longer than one attempt may take."""

import time
from typing import Final

import httpx

from model.errors import EndpointError

MAX_ANSWER_BYTES: Final = 2**20
"""Labels of the largest batch, a problem's words or a foreign endpoint's scores take far less."""


class Answer:
    """The body of a streamed response, part by part; the limits of a read hold for each part, these for the whole."""

    def __init__(self, response: httpx.Response, timeout_s: float) -> None:
        """`timeout_s` counts from the header's arrival."""
        self.response, self.ends_at = response, time.monotonic() + timeout_s
        self.content = bytearray()

    def add(self, part: bytes) -> None:
        """Raises EndpointError for too large an answer, httpx.ReadTimeout for one that drips."""
        self.content += part
        if len(self.content) > MAX_ANSWER_BYTES:
            raise EndpointError(f"{self.response.url}: the answer is larger than {MAX_ANSWER_BYTES:,} bytes")
        if time.monotonic() > self.ends_at:
            raise httpx.ReadTimeout("the answer takes too long", request=self.response.request)

    def whole(self) -> httpx.Response:
        """The response with its body, decoded."""
        answer = httpx.Response(self.response.status_code, content=bytes(self.content), request=self.response.request)
        answer.headers = self.response.headers  # only now: the body is decoded already
        return answer
