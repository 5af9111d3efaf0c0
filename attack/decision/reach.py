"""How far from a boundary point probes go: as far as their answers still differ. N probes, D values of a picture."""

import math
from typing import Final

from attack.decision.problem import Hits

WRONG: Final = (0.25, 0.75)
"""Shares of wrong answers between which probes tell most."""
SHRINK: Final = 0.7


class Reach:
    """Distance of probes from a boundary point, relative to the point's distance from the original.

    Where a network is sure of its class on noise, as on a plain ground, nearly all probes far from the boundary are
    answered rightly and tell nothing: the next go nearer. Where nearly all are wrong, the point itself lies farther
    beyond the boundary than they reach: the next go farther, but not beyond `most`.
    """

    def __init__(self, most: float) -> None:
        self.most = self.share = most

    def pixels(self, distance: float, dim: int) -> float:
        """In pixel units, for a point at `distance` from its original."""
        return max(self.share * distance, lattice_reach(dim))

    def learn(self, hits: Hits) -> None:
        """Take the (N,) answers to probes at this reach."""
        wrong = hits.mean()
        if wrong < WRONG[0]:
            self.share *= SHRINK
        elif wrong > WRONG[1]:
            self.share = min(self.most, self.share / SHRINK)


def lattice_reach(dim: int) -> float:
    """Least distance of probes, pixel units: half of the rounding noise's length."""
    return 0.15 * math.sqrt(dim)
