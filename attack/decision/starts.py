"""Where an attack starts: a picture that the endpoint already answers wrongly, moved towards the original."""

from collections.abc import Generator
from itertools import islice

import numpy as np

from attack.decision.problem import Hits, Problem, Vector, to_lattice
from model.pixels import Pixels

MAX_PHOTOS = 25
NOISE_LEVELS = np.linspace(0.1, 1.0, 10, dtype=np.float32)


def find_start(problem: Problem, tolerance: float = 1e-2) -> Generator[Pixels, Hits, Vector | None]:
    """(D,) a wrongly answered point near the boundary, or None.

    Photos of the other class first, one at a time; then uniform noise blended in at ten levels (foolbox's blended
    noise). What is found is moved along the line to the original by bisection.
    """
    for photo in islice(problem.others(), MAX_PHOTOS):
        if (yield photo[None])[0]:
            return (yield from bisect(problem, photo.astype(np.float32), tolerance))
    uniform = problem.rng.uniform(0, 255, problem.dim).astype(np.float32)
    blends = to_lattice(problem.original + NOISE_LEVELS[:, None] * (uniform - problem.original))
    hits = yield blends
    if not hits.any():
        return None
    return (yield from bisect(problem, blends[int(hits.argmax())].astype(np.float32), tolerance))


def bisect(problem: Problem, outside: Vector, tolerance: float) -> Generator[Pixels, Hits, Vector]:
    """(D,) the last wrongly answered lattice point on the way from `outside` to the original.

    `tolerance` is relative to the distance. Two neighbours on the lattice end the search as well.
    """
    inner, outer = 0.0, 1.0
    way = outside - problem.original
    best = outside
    while outer - inner > tolerance * outer:
        middle = (inner + outer) / 2
        probe = to_lattice(problem.original + np.float32(middle) * way)
        if (yield probe[None])[0]:
            outer, best = middle, probe.astype(np.float32)
        else:
            inner = middle
    return best
