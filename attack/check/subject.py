"""The endpoint under check: how the checks talk to it, and what they remember of it."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import numpy as np

from attack.check.bounded import bounded_client
from attack.check.findings import Unfit
from attack.check.rules import Rules
from attack.check.samples import Samples, take_samples
from attack.wire.client import Client
from attack.wire.connection import straight_transport
from attack.wire.keys import key_headers
from attack.wire.messages import NPY, Info, npy_body, read_labels
from attack.wire.retry import RetryPolicy
from attack.wire.workers import workers
from model.pixels import Pixels

if TYPE_CHECKING:
    from types import TracebackType

CONNECTIONS = 8
NOTICE_S = 5.0
"""How long the engine may take to notice that a container has ended."""
POLL_S = 0.1
TIMED = 3
"""Requests whose quickest tells what a picture takes."""


class Machine(Protocol):
    """What a check may ask of the container behind an endpoint."""

    def ended(self) -> str | None:
        """How the container ended (`exit code 137, out of memory`), None while it runs."""

    def out_of_memory(self) -> bool:
        """Whether the engine killed a process of it for its memory."""

    def peak_memory_mib(self) -> float:
        """The most memory that it held so far."""

    def user_id(self) -> int:
        """Numeric user of its first process."""

    def label(self, name: str) -> str:
        """A label of its image, empty where there is none."""

    def stop(self, at_most_s: float) -> tuple[float, int]:
        """SIGTERM, then SIGKILL after the time: seconds it took, and the exit code."""


@dataclass
class Subject:
    """One endpoint, and the container behind it where the check started one."""

    url: str
    rules: Rules
    images: Path | None = None
    limit: int | None = None
    machine: Machine | None = None
    steady: bool = True
    """False once the same photo has got two labels: other checks then judge no label."""
    http: httpx.Client = field(init=False)
    """For requests whose raw answer is wanted, and for wrong ones. Its time-outs are of a request in all."""
    client: Client = field(init=False)
    """For labels. It waits where the endpoint says busy (429, 503) and does not ask again where a connection broke."""

    def __post_init__(self) -> None:
        headers = {} if self.machine else key_headers()  # a submission is shown no key
        straight = self._is_near()
        self.http = bounded_client(self.url, self.allowed_s(), headers, straight=straight)
        longest_s = self.allowed_s(CONNECTIONS)  # all connections may ask at once, and be answered in turn
        patience = RetryPolicy(patience_s=longest_s, retry_errors=())
        self.client = Client(
            self.url,
            timeout_s=longest_s,
            retry=patience,
            headers=headers,
            transport=straight_transport() if straight else None,
        )

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self.client.close()

    def allowed_s(self, pictures: int = 1) -> float:
        """The longest that an answer may take while so many pictures are under way: the rule is one of each picture."""
        return self.rules.request_s * pictures

    def _is_near(self) -> bool:
        """A container or this machine, where none of the environment's proxies leads."""
        return self.machine is not None or is_loopback(httpx.URL(self.url).host)

    @property
    def info(self) -> Info:
        """What /info says, asked once."""
        return self.client.info

    @cached_property
    def samples(self) -> Samples:
        """Pictures of the endpoint's own input size."""
        return take_samples(self.images, self.limit, self.info.input_size)

    @cached_property
    def clean_labels(self) -> list[str]:
        """The answers to all clean photos, each sent as its file, in the photos' order."""
        with workers(CONNECTIONS) as pool:
            return list(pool.map(self.client.predict, (photo.path for photo in self.samples.photos)))

    def batch_of(self, seconds: float) -> Pixels:
        """As many pictures as take about so long, from one to what the endpoint takes at once."""
        pixels = self.samples.pixels
        each_s = min(self._time_of(pixels[:1]) for _ in range(TIMED))  # whatever else the machine did meanwhile
        n = max(1, min(self.info.max_batch, int(seconds / each_s)))
        return pixels[np.arange(n) % len(pixels)]

    def _time_of(self, pixels: Pixels) -> float:
        started = time.monotonic()
        self.predict_batch(pixels)
        return max(time.monotonic() - started, 1e-4)

    def predict_batch(self, pixels: Pixels, requests: int = 1) -> list[str]:
        """uint8 (N, S, S, 3), N at most what the endpoint takes, -> labels. `requests` of this size are under way."""
        request = self.client.http.build_request(
            "POST",
            f"{self.client.url}/predict/batch",
            content=npy_body(pixels),
            headers={"Content-Type": NPY},
        )
        return read_labels(self.client.send(request, self.allowed_s(len(pixels) * requests)), pixels)

    def post(self, path: str, content: bytes, content_type: str, pictures: int = 1) -> httpx.Response:
        """One POST, not retried: a check wants to see what happens."""
        headers = {"Content-Type": content_type}
        return self.http.post(path, content=content, headers=headers, timeout=self.allowed_s(pictures))

    def json(self, response: httpx.Response) -> dict[str, Any]:
        """The object that a response holds. Raises Unfit when it holds none."""
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Unfit(f"{response.request.method} {response.url.path} answers no JSON object: {response.text[:60]!r}")
        return answer

    def ended(self, within_s: float = 0.0) -> str | None:
        """How the container ended, None while it runs or where the check has none. The engine may notice it late."""
        end = time.monotonic() + within_s
        while self.machine:
            if (told := self.machine.ended()) or time.monotonic() >= end:
                return told
            time.sleep(POLL_S)
        return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


Check = Callable[[Subject], tuple[str, dict[str, float]]]
"""Returns the reason of a pass and its figures; raises Unfit or Skipped with the reason."""
