"""What a label-only attack is given, and what it does on the 8-bit lattice.

N probes, D = 3 * side * side values of one picture, flattened (row, column, channel). All arithmetic is float32 in
pixel units, [0, 255]; a probe is uint8. L2 in [0, 1] units is the pixel-unit distance / 255.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from model.pixels import Pixels

Vector = npt.NDArray[np.float32]
"""(D,) or (N, D), pixel units."""
Hits = npt.NDArray[np.bool_]
"""(N,) whether the endpoint answered the wrong class; an abstention is no hit."""
Attack = Generator[Pixels, Hits, None]
"""Yields (N, D) uint8 probes of one picture, receives (N,) hits."""
Gradient = Callable[[Vector], Vector]
"""(D,) a picture -> (D,) the way in which a network of the attacker's own turns to the wrong class, of any length."""
Guide = Callable[[int, int], Gradient]
"""(label of the original, side) -> what turns such pictures into the other class."""

_TAPE_LENGTH: Final = 2**20
_CACHED_VALUES: Final = 2**18


@dataclass(frozen=True)
class Problem:
    """One picture to attack."""

    original: Vector
    """(D,) the picture that distances are measured from."""
    side: int
    """Side in pixels; D = 3 * side * side."""
    rng: np.random.Generator
    """The attack's only source of chance: same seed and same answers, same probes."""
    others: Callable[[], Iterator[Pixels]]
    """Pictures (D,) of the class that the endpoint should be made to answer, in random order."""
    budget: int = 5000
    """Queries that may be spent, for attacks that plan."""
    surrogate: Gradient | None = None
    """A network that may know what this one knows, for attacks that make use of one."""
    photo_at: Callable[[int], Pixels] | None = None
    """The photo itself as (T, T, 3) at another side T, for attacks that are published for one."""

    @property
    def dim(self) -> int:
        """D."""
        return len(self.original)


def to_lattice(x: Vector) -> Pixels:
    """Nearest picture: rounded and clipped to 0..255. Overwrites `x`."""
    np.rint(x, out=x)
    np.clip(x, 0, 255, out=x)
    return x.astype(np.uint8)


def probes_about(point: Vector, reach: float, directions: Vector, expand: Callable[[Vector], Vector]) -> Pixels:
    """(N, D) lattice points at `reach` from a (D,) point in the (N, d) directions, which `expand` takes to pictures.

    A few pictures at a time: as many as stay in the processor's cache, one or two at 224 x 224.
    """
    probes = np.empty((len(directions), len(point)), np.uint8)
    moves = directions * np.float32(reach)
    shifted = point + np.float32(0.5)  # cutting off then rounds
    step = max(1, _CACHED_VALUES // len(point))
    for place in range(0, len(moves), step):
        block = expand(moves[place : place + step])
        block += shifted
        np.clip(block, 0, 255, out=block)
        probes[place : place + step] = block
    return probes


def norm(x: Vector) -> float:
    """Euclidean length of a (D,) vector."""
    return float(np.sqrt(x @ x))


def distances(problem: Problem, probes: Pixels) -> npt.NDArray[np.float32]:
    """(N, D) probes -> (N,) L2 to the original, pixel units."""
    return np.array([norm(probe - problem.original) for probe in probes], np.float32)


def tape_windows(problem: Problem, n: int) -> list[tuple[int, np.float32]]:
    """n random places and signs on a long tape of normal values: all that must be kept of a random direction.

    Drawing 150,528 normal values costs 2 ms of CPU, a window of a tape next to nothing (Salimans et al. 2017, 2.1).
    """
    places = problem.rng.integers(0, _TAPE_LENGTH, n).tolist()
    signs = (problem.rng.integers(0, 2, n) * 2 - 1).astype(np.float32)
    return list(zip(places, signs, strict=True))


def tape_window(problem: Problem, place: int) -> Vector:
    """(D,) the direction at a place of the tape; a view."""
    return _tape(_TAPE_LENGTH + problem.dim)[place : place + problem.dim]


@cache
def _tape(length: int) -> Vector:
    return np.random.Generator(np.random.SFC64(0)).standard_normal(length, dtype=np.float32)
