"""What an attack is told: the settings that, with photos and answers, determine its results."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """What a run is determined by, beside the photos and the endpoint's answers."""

    attack: str = "auto"
    max_queries: int = 1000
    """Queries per photo, the clean one and the map included."""
    max_l2: float = 10.0
    """An adversarial farther away counts as none. On pictures in [0, 1] at the endpoint's side."""
    seed: int = 0
    spatial: Literal["random", "none"] = "random"
    """A random spatial map first, as the challenge's kit does, or the photo as it is."""
    limit: int | None = None
    surrogates: list[str] = field(default_factory=list)
    """SHA-256 of the weights of the networks whose gradients the attack follows, where it is given any."""
