"""Attacks that see labels alone, one a file: generators that yield probes and receive what was answered."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from attack.decision.auto import auto
from attack.decision.boundary import TUNED, boundary
from attack.decision.cgba import cgba
from attack.decision.hopskipjump import hopskipjump
from attack.decision.problem import Attack, Problem
from attack.decision.regression import regression
from attack.decision.surfree import surfree


def _spatial_grid(problem: Problem, grid: Literal["kit", "documented"]) -> Attack:
    from attack.decision.maps import spatial_grid  # noqa: PLC0415  (torch)

    yield from spatial_grid(problem, grid)


def _corruptions(problem: Problem) -> Attack:
    from attack.decision.maps import corruptions  # noqa: PLC0415  (torch)

    yield from corruptions(problem)


ATTACKS: Final[dict[str, Callable[[Problem], Attack]]] = {
    "auto": auto,
    "boundary": boundary,
    "boundary-tuned": partial(boundary, parameters=TUNED),
    "hopskipjump": hopskipjump,
    "cgba": cgba,
    "surfree": surfree,
    "regression": regression,
    "spatial-kit": partial(_spatial_grid, grid="kit"),
    "spatial-documented": partial(_spatial_grid, grid="documented"),
    "corruptions": _corruptions,
}
"""What `--attack` knows."""
UNBOUNDED: Final = frozenset({"spatial-kit", "spatial-documented", "corruptions"})
"""Those whose success is any wrong answer to what they try, not a small distance."""
WITH_SURROGATE: Final = frozenset({"auto"})
"""Those that make use of `Problem.surrogate`."""
