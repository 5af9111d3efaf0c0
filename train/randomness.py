"""Random numbers that follow from (seed, what for, step) alone, so that a resumed run draws the same."""

import hashlib
from collections.abc import Callable

import torch
from torch import Generator, Tensor


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from any parts; different parts give independent streams."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_of(*parts: int | str, device: torch.device | str = "cpu") -> Generator:
    """A fresh generator on `device` for these parts."""
    return Generator(device).manual_seed(seed_of(*parts))


class RowsGenerator(Generator):
    """A generator for some rows of a batch: `drawn` draws for all `total` rows and keeps `rows`.

    So the numbers of an image do not depend on how many processes share the batch.
    """

    rows: slice
    total: int


def drawn(n: int, generator: Generator | None, draw: Callable[[int], Tensor]) -> Tensor:
    """(n, ...) random numbers for the n rows at hand, from `draw`, which takes a number of rows."""
    if isinstance(generator, RowsGenerator):
        return draw(generator.total)[generator.rows]
    return draw(n)
