"""Bodies off the network to arrays and files: bounded in bytes, in time and in shape; nothing is unpickled.

N images, H height, W width.
"""

import asyncio
import io
import math
from typing import TYPE_CHECKING

import numpy as np
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.types import Receive

from model.pixels import Pixels
from server.budget import ByteBudget
from server.problems import NotAnImage, SlowBody, TooLarge, UnknownType, WrongShape

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

PICTURE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/bmp")
NPY_TYPE = "application/x-npy"
FORM_TYPE = "multipart/form-data"
MAX_DIMENSIONS = 4
"""Of an array: (N, H, W, 3)."""
MAX_PARTS_BESIDE = 16
"""Parts of a form beyond the images that it may hold."""


class BodyBudget(ByteBudget):
    """Bytes of bodies in service, and what each body may be."""

    def __init__(self, max_body_bytes: int, max_buffered_bytes: int, timeout_s: float) -> None:
        super().__init__(max_buffered_bytes)
        self.max_body_bytes, self.timeout_s = max_body_bytes, timeout_s


class ClientGone(Exception):  # noqa: N818
    """The client hung up: nobody is left to answer."""


class Body:
    """The bytes of one request, counted against the budget as long as the `with` lasts."""

    def __init__(self, budget: BodyBudget, receive: Receive, announced: str | None) -> None:
        self.budget, self.receive, self.announced = budget, receive, announced
        self.taken = 0

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_: object) -> None:
        self.budget.give_back(self.taken)

    async def read(self) -> bytes:
        """All of it. Raises TooLarge, SlowBody, Unavailable (over the budget) or ClientGone."""
        if self.announced is not None and self.announced.isdecimal():
            self._expect_size(int(self.announced))
        try:
            async with asyncio.timeout(self.budget.timeout_s):
                return await self._collect()
        except TimeoutError:
            raise SlowBody(f"The body was not complete after {self.budget.timeout_s:g} seconds.") from None

    async def _collect(self) -> bytes:
        chunks: list[bytes] = []
        received = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            chunks.append(chunk)
            received += len(chunk)
            self._expect_size(received)
            self._take(len(chunk))
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _expect_size(self, count: int) -> None:
        if count > self.budget.max_body_bytes:
            raise TooLarge(f"A body may have {self.budget.max_body_bytes} bytes.")

    def _take(self, count: int) -> None:
        self.budget.take(count)
        self.taken += count


def content_type(headers: Headers) -> tuple[str, bytes]:
    """The type in lower case, and the boundary of a form. Raises UnknownType when it is none that is read."""
    value, options = parse_options_header(headers.get("content-type", ""))
    kind = value.decode("latin-1").lower()
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnknownType("Send the body as it is, without a content encoding.")
    if kind not in (*PICTURE_TYPES, NPY_TYPE, FORM_TYPE):
        raise UnknownType(f"Send {', '.join(PICTURE_TYPES)}, {NPY_TYPE} or {FORM_TYPE}.")
    return kind, options.get(b"boundary", b"")


def read_npy(body: bytes) -> Pixels:
    """The array of an npy file, uint8 alone, as a read-only view of the body.

    Only the header is interpreted, as a literal; object arrays, and with them pickles, end at the dtype. Raises
    NotAnImage for what is no npy file or has another length than its header says, WrongShape for another dtype.
    """
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran_order, dtype = read_header[version](stream)
        count = math.prod(shape)
    except Exception as error:  # the header is a hostile literal: SyntaxError, RecursionError, MemoryError and more
        raise NotAnImage("The body is no npy file of version 1 or 2.") from error
    if dtype != np.uint8:
        raise WrongShape("The array must be uint8.")
    if not shape or min(shape) < 1:
        raise WrongShape("The array is empty.")
    if len(shape) > MAX_DIMENSIONS:  # numpy has no array of more than 64
        raise WrongShape(f"The array has more than {MAX_DIMENSIONS} dimensions.")
    if len(body) - stream.tell() != count:
        raise NotAnImage("The npy file is not as long as its header says.")
    flat = np.frombuffer(body, np.uint8, count, stream.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")


def read_form(body: bytes, boundary: bytes, field: str, max_files: int) -> list[bytes]:
    """The contents of all parts named `field` of a multipart form, in order; other parts are passed over.

    Raises NotAnImage when it is no form, WrongShape when it has no such part, TooLarge when it has too many.
    """
    form = _Form(field.encode(), max_files)
    if not boundary:
        raise NotAnImage("The content type names no boundary of the form.")
    try:
        parser = MultipartParser(boundary, form.callbacks(), max_header_count=16, max_header_size=4096)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise NotAnImage("The body is no multipart form.") from error
    if not form.ended:
        raise NotAnImage("The multipart form is cut short.")
    if not form.files:
        raise WrongShape(f"The form has no field named {field}.")
    return [bytes(file) for file in form.files]


class _Form:
    """Collects the wanted parts as the parser finds them."""

    def __init__(self, field: bytes, max_files: int) -> None:
        self.field, self.max_files = field, max_files
        self.files: list[bytearray] = []
        self.ended = False
        self._parts = 0
        self._name = self._value = b""
        self._wanted = False

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._wanted = False
        self._parts += 1
        if self._parts > self.max_files + MAX_PARTS_BESIDE:
            raise TooLarge("The form has too many parts.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._wanted = options.get(b"name") == self.field
            if self._wanted and len(self.files) >= self.max_files:
                raise TooLarge(f"The form may have {self.max_files} images.")
            if self._wanted:
                self.files.append(bytearray())
        self._name = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self.files[-1] += data[start:end]

    def _end(self) -> None:
        self.ended = True
