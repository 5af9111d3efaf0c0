"""The two pages: for people with a photo, and for people with a program. No build, nothing from other hosts."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from fastapi import Response

FOLDER: Final = Path(__file__).parent / "page"
_INLINE: Final = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


def page(name: str) -> Response:
    """A page with headers that let its own script and style run, by their hashes, and nothing else."""
    text = (FOLDER / f"{name}.html").read_bytes()
    inline = {kind.decode(): _source(body) for kind, body in _INLINE.findall(text)}
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src blob:; style-src {inline['style']}; "
        f"script-src {inline['script']}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(text, media_type="text/html", headers=headers)


def _source(text: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
