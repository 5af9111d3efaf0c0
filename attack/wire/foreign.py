"""Any other endpoint, described by a small TOML: how a picture is sent, and where the label stands in the answer.

url = "https://host/v1/classify"
input_size = 224

[request]
format = "multipart"            # multipart | raw | base64-json
field = "file"                  # multipart: the field's name
headers = { Authorization = "Bearer ${API_TOKEN}" }

[answer]
label = "/predictions/0/class"  # JSON pointer (RFC 6901)

[labels]
bird = ["bird", "magpie"]
bicycle = ["bicycle", "mountain bike"]
"""

import base64
import io
import json
import os
import re
import string
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, Unpack

import httpx
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from attack.wire.client import Connection
from attack.wire.connection import AsyncConnection, Options
from attack.wire.messages import IMAGE_TYPES, MAX_SIDE, MIN_SIDE, Info, Picture, raise_for_status
from attack.wire.spread import spread
from model.console import say
from model.errors import ConfigError, RefusedError
from model.labels import ABSTAIN, CLASSES, LABELS
from model.pixels import Pixels, load_square
from model.toml import from_table, read_toml

IMAGE_MARK = "{image}"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OF_THE_BODY = ("content-length", "transfer-encoding")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(_Strict):
    """How a picture is sent: losslessly, or the attack would not know what was classified."""

    format: Literal["multipart", "raw", "base64-json"] = "multipart"
    """A form with a file, the file as the body, or JSON with the file in base64."""
    field: str = "image"
    """Multipart: the name of the file's field."""
    body: dict[str, Any] = {"image": IMAGE_MARK}
    """Base64 JSON: the body; `{image}` in its strings is replaced by the picture."""
    encoding: Literal["png", "bmp"] = "png"
    """File format; both are lossless."""
    headers: dict[str, str] = {}
    """Sent with every request; `${NAME}` is replaced by the environment variable NAME."""

    @model_validator(mode="before")
    @classmethod
    def _no_lossy_format(cls, value: Any) -> Any:
        encoding = value.get("encoding") if isinstance(value, dict) else None
        if isinstance(encoding, str) and encoding.lower() in ("jpeg", "jpg", "webp"):
            raise ValueError(
                f"encoding {encoding!r} is lossy: the endpoint would classify other pixels; use png or bmp"
            )
        return value

    @field_validator("body")
    @classmethod
    def _holds_the_picture(cls, value: dict[str, Any]) -> dict[str, Any]:
        if _filled(value, "") == value:
            raise ValueError(f"no string in it holds {IMAGE_MARK}, so no picture would be sent")
        try:
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise ValueError("a number in it is nan or inf, which JSON does not know") from error
        return value


class Answer(_Strict):
    """Where the label stands in the answer."""

    label: str = "/label"
    """JSON pointer; empty is the whole answer."""

    @field_validator("label")
    @classmethod
    def _pointer(cls, value: str) -> str:
        """A forgotten slash would point at the whole answer, and no name be known."""
        if value and not value.startswith("/"):
            raise ValueError(f"{value!r} is no JSON pointer; write {'/' + value!r}")
        return value


class Endpoint(_Strict):
    """The whole description."""

    url: str
    """Where pictures are posted, one a request."""
    input_size: int = Field(default=224, ge=MIN_SIDE, le=MAX_SIDE)
    """Side in pixels of the square pictures that are sent; the one that the endpoint works with, if known."""
    request: Request = Request()
    """How a picture is sent."""
    answer: Answer = Answer()
    """Where the label stands."""
    labels: dict[Literal["bicycle", "bird", "abstain"], list[str]] = {name: [name] for name in LABELS}
    """The endpoint's names for each of our labels."""
    other: Literal["abstain", "error"] = ABSTAIN
    """What a name that is not listed means: neither class (the first is told on stderr), or a mistake in this file."""

    @model_validator(mode="after")
    def _both_classes_named(self) -> Self:
        names = [name for listed in self.labels.values() for name in listed]
        if not all(self.labels.get(label) for label in CLASSES) or len(set(names)) < len(names):
            raise ValueError("labels must name bicycle and bird, each name once")
        return self


def read_endpoint(file: Path) -> Endpoint:
    """Raises ConfigError, one line naming the file and the key."""
    try:
        return from_table(Endpoint, read_toml(file), str(file))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


class ForeignClient(Connection):
    """Labels from an endpoint that a TOML describes; one picture a request. As `Client` otherwise."""

    max_batch = 1

    def __init__(self, endpoint: Endpoint, **options: Unpack[Options]) -> None:
        self.endpoint = endpoint
        headers = {name: _header(name, value) for name, value in endpoint.request.headers.items()}
        defaults: Options = {"max_slots": 16, "headers": headers}
        super().__init__(AsyncConnection(endpoint.url, **(defaults | options)))
        self.info = Info(endpoint.input_size, self.max_batch, {})
        self._names = {name: label for label, names in endpoint.labels.items() for name in names}
        self._first_unlisted = Lock()
        """Taken, for good, by the first answer that [labels] does not list: that one is told."""

    @property
    def described(self) -> str:
        """All that the file says: what a run on it is told from another by."""
        return self.endpoint.model_dump_json()

    def predict(self, picture: Picture) -> str:
        """The label of one picture; whatever it is, it goes over the wire as a lossless file of the square."""
        side = self.endpoint.input_size
        pixels = load_square(picture, side) if isinstance(picture, bytes | Path) else picture
        return self._label(self.send(self._request(self._file(pixels))))

    def predict_batch(self, pixels: Pixels) -> list[str]:
        """uint8 (N, H, W, 3) -> N labels, one request each, side by side."""
        return self._run(spread(pixels, 1, self.pace, self._labels_of_one))

    def labels_in_turn(self, pixels: Pixels) -> list[str]:
        """As `predict_batch`, one request after the other."""
        return [self.predict(picture) for picture in pixels]

    async def _labels_of_one(self, pixels: Pixels) -> list[str]:
        return [self._label(await self._over.send(self._request(self._file(pixels[0]))))]

    def _file(self, pixels: Pixels) -> bytes:
        stream = io.BytesIO()
        options = {"compress_level": 1} if self.endpoint.request.encoding == "png" else {}
        Image.fromarray(pixels).save(stream, self.endpoint.request.encoding, **options)
        return stream.getvalue()

    def _request(self, file: bytes) -> httpx.Request:
        how = self.endpoint.request
        content_type = IMAGE_TYPES["." + how.encoding]
        if how.format == "multipart":
            part = (f"picture.{how.encoding}", file, content_type)
            return self.http.build_request("POST", self.url, files={how.field: part})
        if how.format == "raw":
            return self.http.build_request("POST", self.url, content=file, headers={"Content-Type": content_type})
        return self.http.build_request("POST", self.url, json=_filled(how.body, base64.b64encode(file).decode()))

    def _label(self, response: httpx.Response) -> str:
        try:
            value = _pointed(raise_for_status(response).json(), self.endpoint.answer.label)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            place = self.endpoint.answer.label
            raise RefusedError(f"{self.url}: no label at {place!r} of the answer {response.text[:120]!r}") from error
        name = value if isinstance(value, str) else json.dumps(value)
        if name not in self._names and self.endpoint.other == "error":
            raise RefusedError(f"{self.url}: answered {name[:80]!r}, which the file's [labels] does not list")
        if name not in self._names and self._first_unlisted.acquire(blocking=False):
            say(f"{self.url}: answered {name[:80]!r}, which [labels] does not list: names like it count as abstain")
        return self._names.get(name, ABSTAIN)


def _header(name: str, value: str) -> str:
    """The value with its variables; what cannot stand in a request is a ConfigError."""
    expanded = _expanded(value)
    if not _TOKEN.fullmatch(name) or not expanded.isascii() or not expanded.isprintable():
        raise ConfigError(f"request.headers: {name!r} is no name of a header, or its value is not printable ASCII")
    if name.lower() in _OF_THE_BODY:
        raise ConfigError(f"request.headers: {name} follows from the picture; leave it out")
    return expanded


def _expanded(value: str) -> str:
    try:
        return string.Template(value).substitute(os.environ)
    except KeyError as error:
        raise ConfigError(f"request.headers: the environment variable {error} is not set") from error
    except ValueError as error:
        raise ConfigError(f"request.headers: {error}; write $$ for a dollar sign") from error


def _filled(body: Any, picture: str) -> Any:
    if isinstance(body, dict):
        return {key: _filled(value, picture) for key, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, picture) for value in body]
    return body.replace(IMAGE_MARK, picture) if isinstance(body, str) else body


def _pointed(value: Any, pointer: str) -> Any:
    """RFC 6901."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
