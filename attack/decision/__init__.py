"""Attacks that see labels alone, one a file: generators that yield probes and receive what was answered."""

from collections.abc import Callable
from functools import partial
from typing import Final

from attack.decision.boundary import TUNED, boundary
from attack.decision.problem import Attack, Problem

ATTACKS: Final[dict[str, Callable[[Problem], Attack]]] = {
    "boundary": boundary,
    "boundary-tuned": partial(boundary, parameters=TUNED),
}
"""What `--attack` knows."""
