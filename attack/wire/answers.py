"""How an answer is read: not more of it than labels need."""

from typing import Final

import httpx

from model.errors import EndpointError

MAX_ANSWER_BYTES: Final = 2**20
"""Labels of the largest batch, a problem's words or a foreign endpoint's scores take far less."""
PACKINGS: Final = ("gzip", "deflate")
"""What makes of the 64 KiB that are read at once 64 MiB at most; others, or two of these, know no bounds."""
PACKED_HEADERS: Final = {"Accept-Encoding": ", ".join(PACKINGS)}
"""Of every request: httpx would ask for whatever is installed."""


async def whole(response: httpx.Response) -> httpx.Response:
    """A streamed response with its body, decoded. Raises EndpointError for one too large or packed beyond measure."""
    packings = [name for name in response.headers.get_list("Content-Encoding", split_commas=True) if name]
    if len(packings) > 1 or not {name.lower() for name in packings} <= {*PACKINGS, "identity"}:
        raise EndpointError(
            f"{response.url}: the answer is packed as {', '.join(packings)[:80]!r}, which was not asked for"
        )
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MAX_ANSWER_BYTES:
            raise EndpointError(f"{response.url}: the answer is larger than {MAX_ANSWER_BYTES:,} bytes")
    answer = httpx.Response(
        response.status_code, content=bytes(content), request=response.request, extensions=response.extensions
    )
    answer.headers = response.headers  # only now: the body is decoded already
    answer.encoding = "utf-8"  # the sender may name any of Python's codecs, such as bz2's
    return answer
