"""Random numbers that follow from (seed, what for, step) alone, so that a resumed run draws the same."""

import hashlib

import torch
from torch import Generator


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from any parts; different parts give independent streams."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_of(*parts: int | str, device: torch.device | str = "cpu") -> Generator:
    """A fresh generator on `device` for these parts."""
    return Generator(device).manual_seed(seed_of(*parts))
