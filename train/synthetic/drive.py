"""The drive train: chainring, cranks, pedals, chain and the rear sprocket. Space in metres."""

import numpy as np

from train.synthetic.bicycle_kinds import Kind
from train.synthetic.chance import Colour, Rng, grey, happens, uniform
from train.synthetic.figure import Part, Rod
from train.synthetic.frames import Joints
from train.synthetic.geometry import Points, circle, heading

_X, _Y = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
_CHAIN_LINE = 0.045


def crank_length(kind: Kind) -> float:
    """Bracket to pedal; shorter on small wheels with little room below."""
    return min(0.17, 0.5 * kind.wheel)


def pedals(kind: Kind, at: Joints, crank_degrees: float) -> Points:
    """The middles of the drive-side (z > 0) and the other pedal: (2, 3)."""
    arm = crank_length(kind) * heading(crank_degrees)
    return np.array([at.bracket + arm + (0, 0, 0.11), at.bracket - arm - (0, 0, 0.11)])


def drive_train(kind: Kind, at: Joints, crank_degrees: float, rng: Rng) -> list[Part]:
    """All of it, with the cranks at `crank_degrees`."""
    metal = grey(rng, 0.12, 0.75)
    aside = np.array([0, 0, _CHAIN_LINE])
    ring, cog = 0.27 * kind.wheel * uniform(rng, 0.85, 1.1), 0.11 * kind.wheel
    parts: list[Part] = [
        Rod(circle(at.bracket + aside, ring, _X, _Y, 32), 0.008, metal, shine=False, closed=True),
        *(
            Rod(
                np.array([at.bracket + aside, at.bracket + aside + ring * heading(crank_degrees + k * 72)]),
                0.006,
                metal,
            )
            for k in range(5)
        ),
        Rod(circle(at.rear_hub + aside, cog, _X, _Y, 20), 0.012, grey(rng, 0.2, 0.6), shine=False, closed=True),
        *_cranks(kind, at, crank_degrees, metal),
    ]
    if happens(rng, 0.25) and kind.fenders > 0.5:
        return [*parts, _chain_case(at, aside, ring, cog, grey(rng, 0.1, 0.7))]
    return parts + _chain(at, aside, ring, cog)


def _cranks(kind: Kind, at: Joints, crank_degrees: float, metal: Colour) -> list[Part]:
    parts: list[Part] = []
    for pedal, z in zip(pedals(kind, at, crank_degrees), (0.07, -0.07), strict=True):
        inner = pedal * (1, 1, 0) + (0, 0, z)
        parts.append(Rod(np.array([at.bracket + (0, 0, z), inner]), 0.0105, metal))
        parts.append(Rod(np.array([pedal - (0.045, 0, 0), pedal + (0.045, 0, 0)]), 0.013, (30, 30, 32)))
    return parts


def _chain(at: Joints, aside: Points, ring: float, cog: float) -> list[Part]:
    steel = (70, 66, 62)
    return [
        Rod(
            np.array([at.bracket + aside + (0, s * ring, 0), at.rear_hub + aside + (0, s * cog, 0)]),
            0.0045,
            steel,
            shine=False,
        )
        for s in (-1, 1)
    ]


def _chain_case(at: Joints, aside: Points, ring: float, cog: float, colour: Colour) -> Part:
    return Rod(
        np.array([at.bracket + aside, at.rear_hub + aside]) + (0, 0.3 * ring, 0.01), 0.7 * (ring + cog) / 1.6, colour
    )
