"""What goes over the wire: pictures there, labels and problem details back.

N batch, H height, W width.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

import httpx
import numpy as np

from model.errors import EndpointError, ImageError, RefusedError
from model.labels import CLASSES, LABELS
from model.pixels import Pixels, read_content

Picture = Path | bytes | Pixels
"""A file, the bytes of one (PNG), or uint8 (H, W, 3) pixels."""
NPY: Final = "application/x-npy"
IMAGE_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}
DEFAULT_BATCH: Final = 64
REQUEST_BYTES: Final = 4 * 2**20
"""A request carries at most so many bytes of pixels, or one picture."""
MIN_SIDE: Final = 8
"""On smaller pictures spatial maps and low frequencies mean nothing."""
MAX_SIDE: Final = 4096
MAX_WORDS: Final = 500
"""Characters of an endpoint's own words in an error, which results and pages repeat photo by photo."""
NOT_OF_THE_PICTURE: Final = frozenset({401, 403, 408, 429})
"""Statuses that tell of the caller or of the moment; any other 4xx may be about what was sent."""


@dataclass(frozen=True)
class Info:
    """What an attacker needs of `GET /info`."""

    input_size: int
    """Side in pixels of the square that the endpoint classifies."""
    max_batch: int
    """Pictures per request."""
    raw: Mapping[str, Any]
    """The whole answer."""


def npy_body(pixels: Pixels) -> bytes:
    """A uint8 array as the bytes of a .npy file, with one copy of the pixels."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": pixels.shape})
    return b"".join((header.getbuffer(), np.ascontiguousarray(pixels).data.cast("B")))


def encoded(picture: Picture) -> tuple[bytes, str]:
    """The body and the content type of one picture. Raises ImageError for a file that cannot be read or sent."""
    if isinstance(picture, np.ndarray):
        return npy_body(picture), NPY
    if isinstance(picture, bytes):
        return picture, IMAGE_TYPES[".png"]
    content_type = IMAGE_TYPES.get(picture.suffix.lower())
    if content_type is None:
        raise ImageError(f"{picture}: not one of {', '.join(IMAGE_TYPES)}")
    try:
        return read_content(picture), content_type
    except ImageError as error:
        raise ImageError(f"{picture}: {error}") from error
    except OSError as error:
        raise ImageError(f"{picture}: {error.strerror}") from error


def read_info(response: httpx.Response) -> Info:
    """Raises EndpointError when the answer is not that of an endpoint of this kind."""
    raw = _json(response)
    size = raw.get("input_size")
    classes = raw.get("classes")
    if not _is_whole(size) or not MIN_SIDE <= size <= MAX_SIDE:
        expected = f"a side of {MIN_SIDE} to {MAX_SIDE} pixels"
        raise EndpointError(f"{response.url}: input_size is {size!r:.80}; expected {expected}")
    if not _are_labels(classes) or not set(CLASSES) <= set(classes):
        raise EndpointError(f"{response.url}: classes are {classes!r:.80}; expected {list(CLASSES)}")
    limits = raw.get("limits")
    max_batch = limits.get("max_batch") if isinstance(limits, dict) else None
    return Info(size, max_batch if _is_whole(max_batch) and max_batch > 0 else DEFAULT_BATCH, raw)


def _is_whole(value: object) -> TypeGuard[int]:
    """In JSON `true` is no number; in Python it is 1."""
    return isinstance(value, int) and not isinstance(value, bool)


def _are_labels(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) and name in LABELS for name in value)


def read_label(response: httpx.Response) -> str:
    """The label of one picture."""
    return _checked(response, _json(response).get("label"))


def read_labels(response: httpx.Response, pixels: Pixels) -> list[str]:
    """The labels of (N, H, W, 3) pixels. Raises EndpointError if they are of other pixels.

    RefusedError unless there are N, and with the others where one of them is none.
    """
    labels = _json(response).get("labels")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise RefusedError(f"{response.url}: answered {str(labels)[:80]!r} to {len(pixels)} pictures")
    _check_hashes(response, pixels)
    try:
        return [_checked(response, label) for label in labels]
    except RefusedError as error:
        error.answered = [label if label in LABELS else None for label in labels]
        raise


def raise_for_status(response: httpx.Response) -> httpx.Response:
    """The response, or an EndpointError with the problem's own words; RefusedError where the pictures may be why."""
    if response.status_code == httpx.codes.OK:
        return response
    try:
        problem = response.json()
        words = problem.get("detail") or problem.get("title") or ""
    except (ValueError, AttributeError, RecursionError):
        words = response.text
    refused = response.is_client_error and response.status_code not in NOT_OF_THE_PICTURE
    kind = RefusedError if refused else EndpointError
    raise kind(f"{response.url}: status {response.status_code} {' '.join(str(words)[:MAX_WORDS].split())}".rstrip())


def _check_hashes(response: httpx.Response, pixels: Pixels) -> None:
    """The first and the last picture stand for all: what resizes on the way resizes every one."""
    stated = response.headers.get("Pixels-SHA256")
    if stated is None:
        return
    hashes = [part.strip().lower() for part in stated.split(",")]
    sent = [hashlib.sha256(np.ascontiguousarray(pixels[place]).data).hexdigest() for place in (0, -1)]
    if len(hashes) != len(pixels) or [hashes[0], hashes[-1]] != sent:
        raise EndpointError(
            f"{response.url}: classified other pixels than were sent; is something resizing on the way?"
        )


def _checked(response: httpx.Response, label: object) -> str:
    if not isinstance(label, str) or label not in LABELS:
        raise RefusedError(f"{response.url}: answered {str(label)[:80]!r}; expected one of {list(LABELS)}")
    return label


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = raise_for_status(response).json()
    except (ValueError, RecursionError) as error:  # the latter of brackets nested without end
        raise RefusedError(f"{response.url}: the answer is no JSON") from error
    if not isinstance(answer, dict):
        raise RefusedError(f"{response.url}: the answer is no JSON object")
    return answer
