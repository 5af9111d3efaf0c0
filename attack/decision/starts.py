"""Where an attack starts: a picture that the endpoint already answers wrongly, moved towards the original."""

from collections.abc import Generator, Iterator
from itertools import islice
from typing import Final

import numpy as np

from attack.decision.problem import Hits, Problem, Vector, distances, norm, to_lattice
from attack.decision.subspace import low_frequency
from model.pixels import Pixels

MAX_PHOTOS: Final = 25
SPATIAL_MAPS: Final = 10
NOISE_LEVELS: Final = np.linspace(0.1, 1.0, 10, dtype=np.float32)
NOISE_BAND: Final = (12, 24)
"""Frequencies, in half periods a side."""
NOISE_LENGTHS: Final = (14.0, 21.0, 30.0, 42.0)
"""Pixel units, root mean square."""
BLURS: Final = (4, 6, 8, 12, 16)
"""Lowest frequencies that are left, a side."""
NEARER: Final = 0.85
"""A further photo is worth its queries if its line is cut at this share of the distance."""
Search = Generator[Pixels, Hits, Vector]
Start = Generator[Pixels, Hits, Vector | None]


def find_start(problem: Problem, tolerance: float = 1e-2) -> Start:
    """(D,) a wrongly answered point near the boundary, or None.

    Photos of the other class first, one at a time; then uniform noise blended in at ten levels (foolbox's blended
    noise); then ten random spatial maps. What is found is moved along the line to the original by bisection.
    """
    found = yield from _first(problem, problem.others())
    return None if found is None else (yield from bisect(problem, found, tolerance))


def best_start(
    problem: Problem,
    photos: int = 10,
    cutoffs: tuple[int, ...] = (12, 24),
    tolerance: float = 1e-2,
    copies: Pixels | None = None,
) -> Start:
    """As `find_start`, but the nearest of several.

    (N, D) `copies`, nearest first, are asked before any photo. Further photos are asked together, where their lines to
    the original would be cut at least 15 % nearer. Then fine detail of the difference is left out, as much as may be
    if the picture is to stay wrong.
    """
    others = problem.others()
    found = None if copies is None else (yield from _first_wrong(copies))
    if found is None:
        found = yield from _first(problem, others)
    if found is None:
        return None
    best = yield from bisect(problem, found, tolerance)
    nearer = yield from _nearer_line(problem, list(islice(others, photos)), norm(best - problem.original))
    if nearer is not None:
        best = yield from bisect(problem, nearer, tolerance)
    way = best - problem.original
    smooth = [problem.original + low_frequency(problem.side, cutoff).low_pass(way) for cutoff in cutoffs]
    nearer = yield from _first_wrong(to_lattice(np.stack(smooth)))
    return best if nearer is None else (yield from bisect(problem, nearer, tolerance))


def near_copies(problem: Problem) -> Pixels:
    """(10, D) the original spoilt in ways that tell a network's weak frequencies, nearest first.

    Brightness noise of the middle frequencies in four strengths, the low frequencies alone in five, and the
    original without its middle ones.
    """
    x, side = problem.original, problem.side
    stop = low_frequency(side, NOISE_BAND[1] + 8).low_pass(x) - low_frequency(side, NOISE_BAND[0]).low_pass(x)
    blurred = [low_frequency(side, cutoff).low_pass(x) for cutoff in BLURS]
    noise = _band_noise(problem)
    spoilt = [x + np.float32(length) * noise for length in NOISE_LENGTHS] + blurred + [x - stop]
    pictures = to_lattice(np.stack(spoilt))
    return pictures[np.argsort(distances(problem, pictures), kind="stable")]


def _band_noise(problem: Problem) -> Vector:
    """(D,) one pixel unit per value, brightness alone, of the frequencies of `NOISE_BAND`."""
    low, high = (low_frequency(problem.side, frequencies) for frequencies in NOISE_BAND)
    grey = np.repeat(problem.rng.standard_normal((problem.side**2, 1), dtype=np.float32), 3, axis=1).ravel()
    noise = high.low_pass(grey) - low.low_pass(grey)
    return noise * np.float32(np.sqrt(problem.dim) / max(norm(noise), 1e-6))


def bisect(problem: Problem, outside: Vector, tolerance: float) -> Search:
    """(D,) the last wrongly answered lattice point on the way from `outside` to the original.

    `tolerance` is relative to the distance.
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


def _first(problem: Problem, others: Iterator[Pixels]) -> Start:
    """The first photo that is answered wrongly, else the least noise that is, else a spatial map of the original."""
    for photo in islice(others, MAX_PHOTOS):
        if (yield photo[None])[0]:
            return photo.astype(np.float32)
    uniform = problem.rng.uniform(0, 255, problem.dim).astype(np.float32)
    blends = to_lattice(problem.original + NOISE_LEVELS[:, None] * (uniform - problem.original))
    start = yield from _first_wrong(blends)
    return (yield from _first_wrong(_maps(problem))) if start is None else start


def _first_wrong(pictures: Pixels) -> Start:
    """(D,) the first of (N, D) pictures that is answered wrongly."""
    hits = yield pictures
    wrong: Vector | None = pictures[int(hits.argmax())].astype(np.float32) if hits.any() else None
    return wrong


def _maps(problem: Problem) -> Pixels:
    from attack.decision.maps import random_map  # noqa: PLC0415  (torch, and seldom needed)

    square = problem.original.astype(np.uint8).reshape(problem.side, problem.side, 3)
    return np.stack([random_map(square, problem.rng)[0].ravel() for _ in range(SPATIAL_MAPS)])


def _nearer_line(problem: Problem, ends: list[Pixels], reach: float) -> Start:
    """(D,) a wrong point within 0.85 of `reach` on one of the lines to the (D,) ends, or None.

    All lines are asked together; while several are wrong they are asked again, farther in.
    """
    best = None
    while ends:
        reach *= NEARER
        hits = yield np.stack([_on_line(problem, end, reach) for end in ends])
        ends = [end for end, hit in zip(ends, hits.tolist(), strict=True) if hit]
        best = _on_line(problem, ends[0], reach).astype(np.float32) if ends else best
        if len(ends) == 1:
            break
    return best


def _on_line(problem: Problem, end: Pixels, reach: float) -> Pixels:
    """(D,) the picture at a distance from the original on the way to the end, and not beyond it."""
    way = end - problem.original
    return to_lattice(problem.original + np.float32(min(1.0, reach / max(norm(way), 1e-6))) * way)
