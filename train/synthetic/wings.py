"""Spread wings: an arm, and a fan of feathers from the body to the wing's tip."""

from dataclasses import dataclass

import numpy as np

from train.synthetic.bird_coats import Coat
from train.synthetic.chance import Colour, Rng, lit, mixed, uniform
from train.synthetic.figure import Sheet
from train.synthetic.geometry import Points, curve
from train.synthetic.plumage import darker

LEAST_SEEN_DEGREES = 30.0
"""Between the line of sight and the plane of either wing."""


@dataclass(frozen=True)
class Stroke:
    """The moment of a wing beat: degrees that the wing is raised above the body's plane and its tip swept backwards."""

    raise_degrees: float
    sweep_degrees: float
    fold: float


def flight(rng: Rng) -> tuple[float, Stroke]:
    """The camera's elevation and a wing beat, so that neither wing is seen on edge."""
    while True:
        elevation, lift = uniform(rng, -62, 62), uniform(rng, -38, 66)
        if min(abs(lift - elevation), abs(lift + elevation)) > LEAST_SEEN_DEGREES:
            return elevation, Stroke(lift, uniform(rng, 0, 30), uniform(rng, 0.85, 1))


def spread_wing(
    shoulder: Points, forward: Points, up: Points, side: float, span: float, chord: float, beat: Stroke, coat: Coat
) -> Sheet:
    """One wing as a sheet of feathers. `side` is +1 or -1 (along z); span and chord are in body lengths."""
    lift = np.deg2rad(beat.raise_degrees)
    outward = np.array([0.0, 0.0, side]) * np.cos(lift) + up * np.sin(lift)
    arm = _arm(shoulder, forward, outward, span, beat)
    wing = coat.wing or darker(coat.back)
    feathers = [_feather(arm, k / 21, forward, outward, span, chord, beat, wing, coat.tip) for k in range(22)]
    outlines = [outline for feather in feathers for outline in feather]
    return Sheet([*outlines, *_coverts(arm, forward, outward, chord, wing, coat)])


def _arm(shoulder: Points, forward: Points, outward: Points, span: float, beat: Stroke) -> Points:
    """The leading edge from shoulder over wrist to the last feather's root: (40, 3)."""
    back = np.tan(np.deg2rad(beat.sweep_degrees))
    knots = [(0, 0.02), (0.22, 0.1), (0.46, 0.13), (0.62, 0.06), (0.75, -0.12 * back)]
    return curve([shoulder + span * (s * beat.fold * outward + c * forward) for s, c in knots], 40)


def _feather(
    arm: Points,
    share: float,
    forward: Points,
    outward: Points,
    span: float,
    chord: float,
    beat: Stroke,
    colour: Colour,
    tip: Colour | None,
) -> list[tuple[Points, Colour]]:
    """Feather `share` of the way out: it points backwards at the body and outwards at the tip."""
    root = arm[int(share * 39)]
    out = max(0.0, (share - 0.45) / 0.55)
    angle = np.deg2rad(4 + (82 - beat.sweep_degrees) * out**1.15)
    direction = -np.cos(angle) * forward + np.sin(angle) * outward * beat.fold
    length = chord * (0.85 + 0.12 * np.sin(6 * share)) * (1 - out) + out * max(chord * 0.95, 0.36 * span)
    width = span * 0.036 * (1.25 - 0.45 * out)
    across = np.cos(angle) * outward + np.sin(angle) * forward
    end = root + direction * length
    shape = [(0, -0.8), (0.5, -1), (0.85, -0.9), (1, 0), (0.85, 0.9), (0.5, 1), (0, 0.8)]
    whole = np.array([root + t * (end - root) + w * width * across for t, w in shape])
    tint = lit(colour, 0.86 + 0.24 * (round(share * 21) % 2))
    ends = [(whole[[1, 2, 3, 4, 5]], tip)] if tip and out > 0.1 else []
    return [(whole, tint), *ends]


def _coverts(
    arm: Points, forward: Points, outward: Points, chord: float, wing: Colour, coat: Coat
) -> list[tuple[Points, Colour]]:
    """The small feathers over the roots of the large ones, in two rows, and the bar at their end."""
    share = np.linspace(1, 0.25, 40)[:, None] ** 0.8
    rows = [(0.56, coat.bar)] if coat.bar else []
    rows += [(0.48, mixed(wing, coat.back, 0.5)), (0.26, coat.back)]
    shifted = [(arm - depth * chord * share * forward + 0.02 * outward, colour) for depth, colour in rows]
    return [(np.concatenate([arm + 0.02 * forward, lower[::-1]]), colour) for lower, colour in shifted]
