"""Who answers: one interface for a live endpoint and for a bundle in this process. N batch, S side."""

from hashlib import sha256
from pathlib import Path
from typing import Protocol

from attack.wire.client import Client
from attack.wire.foreign import ForeignClient, read_endpoint
from attack.wire.messages import Info
from model.pixels import Pixels


class Oracle(Protocol):
    """Labels for pictures, and how many may be asked at once."""

    @property
    def input_size(self) -> int:
        """Side S in pixels of the pictures."""

    @property
    def max_batch(self) -> int:
        """Pictures per request; it may fall."""

    @property
    def slots(self) -> int:
        """Requests that may be under way now."""

    @property
    def max_slots(self) -> int:
        """Most requests that will ever be under way."""

    def labels(self, pixels: Pixels) -> list[str]:
        """uint8 (N, S, S, 3) -> N of bicycle | bird | abstain."""

    def label_of_png(self, png: bytes) -> str:
        """The label of a PNG file, by the way a user would send it."""


class NamedOracle(Oracle, Protocol):
    """One that says who answers."""

    @property
    def identity(self) -> str | None:
        """What answers, so that no run goes on with another: the hash of its weights, or how it is reached."""

    def identity_now(self) -> str | None:
        """As `identity` was at first, found out anew. Raises EndpointError."""


class RemoteOracle:
    """A live endpoint, ours or one that a TOML describes."""

    def __init__(self, client: Client | ForeignClient) -> None:
        self.client = client
        self.input_size = client.info.input_size
        self.identity = self._identity(client.info)
        self.max_slots = client.pace.max_slots

    def identity_now(self) -> str:
        """Of what `/info` says now, where there is one."""
        return self._identity(self.client.info_now() if isinstance(self.client, Client) else self.client.info)

    def _identity(self, info: Info) -> str:
        weights = info.raw.get("weights_sha256")
        # Hashed, since a description may hold a key, and the journal lies open.
        return weights if isinstance(weights, str) else sha256(self.client.described.encode()).hexdigest()

    @property
    def max_batch(self) -> int:
        """What the endpoint takes, as far as it has told or refused by now."""
        return self.client.max_batch

    @property
    def slots(self) -> int:
        """What the endpoint bears at the moment."""
        return self.client.pace.slots

    def labels(self, pixels: Pixels) -> list[str]:
        """Labels over HTTP."""
        return self.client.labels_in_turn(pixels)

    def label_of_png(self, png: bytes) -> str:
        """The PNG goes over the wire as it is, or as the endpoint's TOML says."""
        return self.client.predict(png)


def open_client(endpoint: str) -> Client | ForeignClient:
    """A client for a URL, or for the TOML file that describes an endpoint. Raises ConfigError."""
    if endpoint.endswith(".toml"):
        return ForeignClient(read_endpoint(Path(endpoint)))
    return Client(endpoint)
