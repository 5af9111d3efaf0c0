"""What can go wrong with a request, in one tree; each problem knows its status and is told as RFC 9457 JSON."""

import json
import random
from typing import ClassVar, Final

CONTENT_TYPE: Final = b"application/problem+json"
_ids: Final = random.Random()  # noqa: S311  (a name, no secret; seeded by the system once and not for each request)


def new_request_id() -> str:
    """A name for a request that brought none."""
    return f"{_ids.getrandbits(64):016x}"


class Problem(Exception):  # noqa: N818  (what RFC 9457 calls it)
    """Root of the answers that are no labels. `detail` is for people and never names a library, a path or a score."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The server failed"

    def __init__(self, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        """Seconds after which a retry makes sense; also the header Retry-After."""

    def body(self, request_id: str) -> bytes:
        """The problem as `application/problem+json`."""
        members: dict[str, object] = {
            "type": f"urn:trades-bob:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.retry_after_s is not None:
            members["retry_after_s"] = self.retry_after_s
        return json.dumps(members).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with it."""
        headers = [(b"content-type", CONTENT_TYPE)]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        return headers


class NotAnImage(Problem):
    """The bytes are no picture, no npy array or no multipart form."""

    status, slug, title = 400, "not-an-image", "Not an image"


class Malformed(Problem):
    """The bytes are no HTTP/1.1."""

    status, slug, title = 400, "malformed", "Not HTTP"


class Unauthorized(Problem):
    """The service wants an API key, and this request has none that it knows."""

    status, slug, title = 401, "unauthorized", "Unknown API key"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Adds how to authenticate."""
        return [*super().headers(), (b"www-authenticate", b"Bearer")]


class NotFound(Problem):
    """There is nothing at this path."""

    status, slug, title = 404, "not-found", "Nothing here"


class MethodNotAllowed(Problem):
    """The path exists, the method does not."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Adds the methods that there are."""
        return [*super().headers(), (b"allow", self.allow.encode())]


class SlowBody(Problem):
    """The body did not arrive in time."""

    status, slug, title = 408, "slow-body", "The body came too slowly"


class SlowHead(Problem):
    """The head of the request did not arrive in time."""

    status, slug, title = 408, "slow-head", "The request came too slowly"


class TooLarge(Problem):
    """Too many bytes, pixels or images."""

    status, slug, title = 413, "too-large", "Too large"

    def __init__(self, detail: str, pixels: int = 0) -> None:
        super().__init__(detail)
        self.pixels = pixels
        """Of a picture with too many pixels: how many."""


class UnknownType(Problem):
    """A content type that the service does not read."""

    status, slug, title = 415, "unknown-type", "Unknown content type"


class WrongShape(Problem):
    """An array of another shape or dtype, a form without its field, or a picture that is a line."""

    status, slug, title = 422, "wrong-shape", "Wrong shape, dtype or field"


class RateLimited(Problem):
    """The caller's own limit."""

    status, slug, title = 429, "rate-limited", "Your limit is used up"


class HeadTooLarge(Problem):
    """Too many bytes of headers."""

    status, slug, title = 431, "head-too-large", "Too many headers"


class Unavailable(Problem):
    """The server is full, starting, restarting its worker or too late. A retry is free of side effects."""

    status, slug, title = 503, "unavailable", "Not now"


PROBLEMS = (
    NotAnImage,
    Malformed,
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    SlowBody,
    SlowHead,
    TooLarge,
    UnknownType,
    WrongShape,
    RateLimited,
    HeadTooLarge,
    Unavailable,
)
