"""How an answer is read: not more of it than labels need."""

from typing import Final

import httpx

from model.errors import EndpointError

MAX_ANSWER_BYTES: Final = 2**20
"""Labels of the largest batch, a problem's words or a foreign endpoint's scores take far less."""


async def whole(response: httpx.Response) -> httpx.Response:
    """A streamed response with its body, decoded. Raises EndpointError for one that is too large."""
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MAX_ANSWER_BYTES:
            raise EndpointError(f"{response.url}: the answer is larger than {MAX_ANSWER_BYTES:,} bytes")
    answer = httpx.Response(
        response.status_code, content=bytes(content), request=response.request, extensions=response.extensions
    )
    answer.headers = response.headers  # only now: the body is decoded already
    return answer
