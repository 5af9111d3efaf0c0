"""Who may ask, and how much: API keys that are hashed at rest, and a token bucket for each caller."""

import hashlib
import hmac
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers

from model.errors import ConfigError
from server.problems import RateLimited, Unauthorized, Unavailable

MAX_CALLERS: Final = 10_000
"""Callers remembered by the rate limit; the one not seen for longest is forgotten, which gives it a full bucket."""


class Keys:
    """The API keys that are known, as SHA-256 hashes. Keys have 256 random bits, so that a fast hash is enough."""

    def __init__(self, names_by_hash: dict[bytes, str]) -> None:
        self._names_by_hash = names_by_hash

    @classmethod
    def read(cls, file: Path) -> "Keys":
        """Read `name:sha256` lines; empty lines and lines with # in front are passed over. Raises ConfigError."""
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{file}: the file of API keys cannot be read; make keys with trades-bob make-key"
            ) from error
        names: dict[bytes, str] = {}
        for number, line in enumerate(lines, start=1):
            if line.strip() and not line.startswith("#"):
                name, _, digest = line.strip().partition(":")
                if not name or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                    raise ConfigError(
                        f"{file}, line {number}: not `name:sha256`; make it with trades-bob make-key NAME"
                    )
                names[bytes.fromhex(digest)] = name
        return cls(names)

    def name_of(self, key: str) -> str | None:
        """The name that belongs to a key. Compares with every known hash in constant time."""
        given = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for digest, name in self._names_by_hash.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found


def make_key(name: str) -> tuple[str, str]:
    """A new key, and the line of the keys file that lets it in. Raises ConfigError for a name with a colon or space."""
    if not name or ":" in name or name.startswith("#") or name.split() != [name]:
        raise ConfigError(f"the name of a key is one word without a colon, not {name!r}")
    key = "tb_" + secrets.token_urlsafe(32)
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


def given_key(headers: Headers) -> str:
    """The key of a request: `Authorization: Bearer KEY` or `X-API-Key: KEY`; empty when there is none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


class RateLimiter:
    """Images a second for each caller, as token buckets that hold a burst."""

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate_per_s, self.burst, self._clock = rate_per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, count: int) -> None:
        """Charge `count` images. Raises RateLimited, and charges nothing, when the bucket does not hold them."""
        if self.rate_per_s == 0:
            return
        now = self._clock()
        tokens, since = self._buckets.pop(caller, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - since) * self.rate_per_s)
        enough = count <= tokens
        self._buckets[caller] = (tokens - count if enough else tokens, now)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not enough:
            limit = f"Your limit is {self.rate_per_s:g} images a second, and {self.burst} at once after a pause."
            raise RateLimited(limit, retry_after_s=max(1, math.ceil((count - tokens) / self.rate_per_s)))

    def give_back(self, caller: str, count: int) -> None:
        """Take a charge back."""
        if caller in self._buckets:
            tokens, since = self._buckets[caller]
            self._buckets[caller] = (tokens + count, since)


class Admission:
    """Whether a request may come in, and what it is charged: one image at the door, then the rest of a batch."""

    def __init__(self, keys: Keys | None, limiter: RateLimiter) -> None:
        self.keys, self.limiter = keys, limiter

    def caller(self, headers: Headers, address: str) -> str:
        """The name of the request's key, or its address where no keys are asked for. Raises Unauthorized."""
        if self.keys is None:
            return address
        name = self.keys.name_of(given_key(headers))
        if name is None:
            raise Unauthorized("Send a known key as `Authorization: Bearer KEY`.")
        return name

    def charge(self, caller: str) -> "Charge":
        """Charge a caller one image, and more as the request turns out to hold more."""
        return Charge(self.limiter, caller)


class Charge:
    """What a request has been charged. One that ends in 503 costs nothing."""

    def __init__(self, limiter: RateLimiter, caller: str) -> None:
        self._limiter, self._caller, self._charged = limiter, caller, 0

    def __enter__(self) -> "Charge":
        self.more(1)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Unavailable):
            self._limiter.give_back(self._caller, self._charged)

    def more(self, count: int) -> None:
        """Charge so many images. Raises RateLimited."""
        self._limiter.take(self._caller, count)
        self._charged += count
