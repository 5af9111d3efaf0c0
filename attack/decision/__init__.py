"""Attacks that see labels alone, one a file: generators that yield probes and receive what was answered."""

from collections.abc import Callable
from functools import partial
from typing import Final

from attack.decision.boundary import TUNED, boundary
from attack.decision.cgba import cgba
from attack.decision.hopskipjump import hopskipjump
from attack.decision.problem import Attack, Problem
from attack.decision.regression import regression
from attack.decision.surfree import surfree

ATTACKS: Final[dict[str, Callable[[Problem], Attack]]] = {
    "boundary": boundary,
    "boundary-tuned": partial(boundary, parameters=TUNED),
    "hopskipjump": hopskipjump,
    "cgba": cgba,
    "surfree": surfree,
    "regression": regression,
}
"""What `--attack` knows."""
