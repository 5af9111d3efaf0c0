"""Birds: a skeleton from the proportions of a kind and a posture, clothed in solids, sheets and rods.

Space is in body lengths: x forward, y up, z to the bird's right; the middle of the body is the origin.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from train.synthetic.bird_coats import COATS, Coat
from train.synthetic.bird_kinds import KINDS, Kind, individual
from train.synthetic.chance import Colour, Rng, happens, jitter, lit, pick, uniform, vivid
from train.synthetic.eyes import Eye
from train.synthetic.figure import Ball, Figure, Part, Rod, Sheet
from train.synthetic.geometry import Points, View, curve, heading, looking, turn
from train.synthetic.plumage import Marks, darker, feathered, skin, two_tone
from train.synthetic.solids import Chain, Solid, Surface, chain, plain
from train.synthetic.wings import Stroke, flight, spread_wing

IN_FLIGHT = 0.22
"""How often a bird flies where it could sit, stand or swim."""
PLACES = {"perch": "perch", "stand": "ground", "fly": "air", "swim": "water", "wade": "water"}


@dataclass(frozen=True)
class Skeleton:
    """A bird's pose: the body's axes, and where neck and head are. Unit vectors and points (3,)."""

    along: Points
    up: Points
    neck: list[Points]
    head: Points
    beak_axis: Points


def bird(rng: Rng, places: tuple[str, ...]) -> Figure:
    """Any bird in a posture that fits one of `places` ('air' always does)."""
    settled = [kind for kind in KINDS.values() if _settled(kind, places)]
    flying = not settled or happens(rng, IN_FLIGHT)
    fliers = [kind for kind in KINDS.values() if "fly" in kind.postures]
    kind = individual(pick(rng, fliers if flying else settled), rng)
    posture = "fly" if flying else pick(rng, _settled(kind, places))
    elevation, beat = flight(rng)
    coat = _coat(kind, rng)
    bones = _skeleton(kind, posture, rng)
    parts = [_body(kind, coat, bones, posture, rng), *_eyes(kind, coat, bones), *_crest(kind, coat, bones, rng)]
    parts += _wings(kind, coat, bones, beat) if posture == "fly" else []
    feet = _feet(kind, bones, rng) if posture in ("perch", "stand", "wade") else None
    parts += _legs(kind, coat, bones, posture, feet)
    sunk = uniform(rng, 0.08, 0.14) if posture == "swim" else 0.0
    x, y, z = (float(value) for value in bones.head + 0.5 * kind.head * bones.beak_axis)
    focus = (x, y, z, 1.6 * kind.head)
    return Figure(parts, _view(kind, posture, elevation, rng), PLACES[posture], sunk, focus, feet)


def _settled(kind: Kind, places: tuple[str, ...]) -> list[str]:
    """The postures that fit one of `places`."""
    return [posture for posture in kind.postures if PLACES[posture] in places]


def _view(kind: Kind, posture: str, elevation: float, rng: Rng) -> View:
    """Profile and three-quarter views; in flight also from below and above."""
    mirrored = happens(rng, 0.5)
    if posture == "fly":
        return looking(uniform(rng, -35, 45), elevation, uniform(rng, -15, 20), mirrored, 12)
    yaw = uniform(rng, 0, 70) if kind.face == "disc" else float(np.clip(rng.normal(5, 24), -38, 52))
    return looking(yaw, uniform(rng, -8, 16), uniform(rng, -4, 4), mirrored, 12)


def _coat(kind: Kind, rng: Rng) -> Coat:
    """A coat of the kind, each colour moved a little; now and then a back and belly of any colour."""
    coat = pick(rng, COATS[pick(rng, kind.coats)])
    moved: dict[str, Any] = {name: jitter(rng, value) for name, value in vars(coat).items() if isinstance(value, tuple)}
    coat = replace(coat, **moved)
    if happens(rng, 0.12):
        coat = replace(coat, back=vivid(rng), wing=None, tail=None)
    if happens(rng, 0.12):
        coat = replace(coat, belly=vivid(rng), breast=None)
    return coat


def _skeleton(kind: Kind, posture: str, rng: Rng) -> Skeleton:
    flying = posture == "fly"
    hovering = flying and kind.beak > 0.5 and kind.depth < 0.26
    pitch = uniform(rng, -6, 14) if flying and not hovering else uniform(rng, *kind.pitch)
    along, up = heading(pitch), heading(pitch + 90)
    neck_angle = uniform(rng, 4, 22) if flying and not hovering else uniform(rng, *kind.neck_angle)
    bend = 0.08 if flying else kind.neck_bend
    root = 0.34 * along + 0.04 * up
    reach = kind.depth * 0.62 + kind.neck + kind.head * 0.62
    tip = root + reach * heading(neck_angle)
    side = heading(neck_angle - 90)
    neck = [
        root,
        root + 0.36 * (tip - root) + bend * 0.6 * kind.neck * side,
        root + 0.72 * (tip - root) - bend * 0.6 * kind.neck * side,
        tip,
    ]
    beak = turn((0, 1, 0), uniform(rng, -30, 30)) @ heading(uniform(rng, -14, 12))
    if kind.face == "disc":
        beak = turn((0, 1, 0), uniform(rng, -50, 0)) @ heading(uniform(rng, -8, 4))
    return Skeleton(along, up, neck, tip, beak)


def _body(kind: Kind, coat: Coat, bones: Skeleton, posture: str, rng: Rng) -> Solid:
    """Body, neck and head, beak, tail, and the folded wings, in one solid."""
    breast = 0.3 * bones.along - 0.05 * bones.up
    marks = Marks(
        bones.up, bones.along, breast + 0.1 * bones.along, 1.35 * kind.depth, bones.head, kind.head, bones.beak_axis
    )
    surface = skin(coat, marks, rng)
    chains = [_trunk(kind, bones, breast, surface), *_beak(kind, coat, bones), *_tail(kind, coat, bones, posture, rng)]
    chains.append(chain([bones.head, bones.head + 0.02], [kind.head] * 2, surface, 2))
    if kind.face == "disc":
        chains += _facial_disc(kind, coat, bones)
    if posture != "fly":
        chains += [_folded_wing(kind, coat, bones, side) for side in (-1.0, 1.0)]
    return Solid(chains)


def _trunk(kind: Kind, bones: Skeleton, breast: Points, surface: Surface) -> Chain:
    depth, long_neck = kind.depth, kind.neck > 0.4
    thin = min(kind.head * (0.62 if long_neck else 0.95), depth)
    knots = [-0.52 * bones.along, -0.28 * bones.along, -0.05 * bones.up, breast, *bones.neck[1:]]
    at_throat = thin * 1.5 if long_neck else (depth + kind.head) * 0.5
    radii = [0.1, depth * 0.72, depth, depth * 0.92, at_throat, thin * (1.0 if long_neck else 1.06), kind.head * 0.95]
    return chain(knots, radii, surface, 64 if long_neck else 34)


def _beak(kind: Kind, coat: Coat, bones: Skeleton) -> list[Chain]:
    """Upper and lower mandible; `beak_hook` bends the upper one down over the lower."""
    axis = bones.beak_axis
    down = np.array([0.0, -1.0, 0.0])
    root = bones.head + 0.72 * kind.head * axis - 0.1 * kind.head * -down
    length = kind.beak + 0.2 * kind.head
    tip = root + length * axis * (1 - 0.25 * min(kind.beak_hook, 1)) + kind.beak_hook * length * 0.6 * down
    middle = root + 0.6 * length * axis + 0.08 * kind.beak_hook * length * down
    surface = two_tone(coat.beak, coat.beak_tip, root, length)
    upper = chain([root, middle, tip], [kind.beak_depth, kind.beak_depth * 0.72, 0.012], surface, 16)
    low_root = root + 0.55 * kind.beak_depth * down
    low_tip = (
        root
        + length * (0.86 - 0.4 * min(kind.beak_hook, 1)) * axis
        + (0.3 + 0.6 * min(kind.beak_hook, 1)) * kind.beak_depth * down
    )
    shade = two_tone(darker(coat.beak), coat.beak_tip, root, length)
    lower = chain([low_root, low_tip], [kind.beak_depth * 0.6, 0.01], shade, 10)
    return [lower, upper]


def _tail(kind: Kind, coat: Coat, bones: Skeleton, posture: str, rng: Rng) -> list[Chain]:
    angle = 0.0 if posture == "fly" else uniform(rng, *kind.tail_angle)
    axis = turn((0, 0, 1), -angle) @ -bones.along
    root = -0.42 * bones.along + 0.02 * bones.up
    colour = coat.tail or coat.wing or darker(coat.back)
    surface = feathered(colour, coat.tip, None, root, axis, kind.tail + 0.12)
    spread = uniform(rng, 0.1, 0.3) if posture == "fly" else uniform(rng, 0.0, 0.08)
    width = kind.tail_width * (1.5 if posture == "fly" else 1)
    ends = [root + (kind.tail + 0.1) * axis + kind.tail * spread * np.array([0, 0, z]) for z in (-1.0, 0.0, 1.0)]
    flat = np.cross(axis, (0.0, 0.0, 1.0))
    return [chain([root, end], [width * 0.62, width * 0.72], surface, 14, flat, 0.22) for end in ends]


def _folded_wing(kind: Kind, coat: Coat, bones: Skeleton, side: float) -> Chain:
    out = np.array([0.0, 0.0, side])
    shoulder = 0.34 * bones.along + 0.03 * bones.up + 0.66 * kind.depth * out
    middle = -0.06 * bones.along + 0.0 * bones.up + 0.86 * kind.depth * out
    tip = (0.3 - kind.wing * 1.25) * bones.along + 0.02 * bones.up + 0.3 * kind.depth * out
    before_tip = 0.45 * middle + 0.55 * tip + 0.02 * out
    surface = feathered(coat.wing or darker(coat.back), coat.tip, coat.bar, shoulder, -bones.along, kind.wing + 0.5)
    radii = np.array([0.4, 0.68, 0.42, 0.08]) * kind.depth
    return chain([shoulder, middle, before_tip, tip], radii, surface, 26, out + 0.25 * bones.up, 0.42)


def _facial_disc(kind: Kind, coat: Coat, bones: Skeleton) -> list[Chain]:
    """An owl's two flat discs around the eyes."""
    pale = plain(coat.belly)
    across = np.cross(bones.beak_axis, (0.0, 1.0, 0.0))
    chains = []
    for side in (-1.0, 1.0):
        middle = bones.head + kind.head * (
            0.72 * bones.beak_axis + 0.4 * side * across + 0.06 * np.array([0.0, 1.0, 0.0])
        )
        chains.append(chain([middle, middle + 0.001], [kind.head * 0.56] * 2, pale, 2, bones.beak_axis, 0.5))
    return chains


def _eyes(kind: Kind, coat: Coat, bones: Skeleton) -> list[Part]:
    """Both eyes on the skin of the head; the body hides the one behind."""
    across = np.cross(bones.beak_axis, (0.0, 1.0, 0.0))
    ahead, aside = (0.92, 0.42) if kind.face == "disc" else (0.42, 0.88)
    parts: list[Part] = []
    for side in (-1.0, 1.0):
        out = ahead * bones.beak_axis + aside * side * across + 0.2 * np.array([0.0, 1.0, 0.0])
        parts.append(
            Eye(
                bones.head + kind.head * out * (1.04 if kind.face == "disc" else 0.98),
                kind.head * kind.eye,
                coat.iris,
                out,
            )
        )
    return parts


def _crest(kind: Kind, coat: Coat, bones: Skeleton, rng: Rng) -> list[Part]:
    """Crest, comb and wattles, or the ear tufts of some owls."""
    head, radius = bones.head, kind.head
    upright = np.array([0.0, 1.0, 0.0])
    if kind.face == "comb":
        red = (205, 30, 35)
        teeth = [
            Ball(head + radius * (1.0 * upright + x * bones.beak_axis), radius * 0.32, red)
            for x in (-0.5, -0.1, 0.3, 0.65)
        ]
        return [*teeth, Ball(head + radius * (0.95 * bones.beak_axis - 0.85 * upright), radius * 0.34, red, order=0.3)]
    if kind.face == "crest" or (kind.face == "plain" and kind.neck < 0.3 and happens(rng, 0.08)):
        return [
            _spike(
                head,
                radius,
                -0.75 * bones.beak_axis + 1.3 * upright,
                bones.beak_axis,
                coat.cap or coat.head or coat.back,
            )
        ]
    if kind.face == "disc" and happens(rng, 0.5):
        across = np.cross(bones.beak_axis, upright)
        return [
            _spike(
                head, radius, 1.35 * upright + 0.75 * side * across, 0.6 * across * side, darker(coat.head or coat.back)
            )
            for side in (-1.0, 1.0)
        ]
    return []


def _spike(head: Points, radius: float, towards: Points, base: Points, colour: Colour) -> Sheet:
    corners = [
        head + radius * (0.6 * base + 0.6 * towards / 1.3),
        head + radius * 1.25 * towards,
        head + radius * (-0.75 * base + 0.4 * towards / 1.3),
        head,
    ]
    return Sheet([(np.array(corners), colour)], order=-0.02)


def _wings(kind: Kind, coat: Coat, bones: Skeleton, beat: Stroke) -> list[Part]:
    wings: list[Part] = []
    for side in (-1.0, 1.0):
        shoulder = 0.2 * bones.along + 0.1 * bones.up + np.array([0, 0, 0.5 * kind.depth * side])
        wings.append(spread_wing(shoulder, bones.along, bones.up, side, kind.span, kind.chord, beat, coat))
    return wings


def _feet(kind: Kind, bones: Skeleton, rng: Rng) -> Points:
    """Both feet, a step apart: (2, 3)."""
    step = uniform(rng, -0.25, 0.25) * min(kind.leg, 0.5)
    x, y = 0.1 * bones.along[0] + 0.12, -max(0.82 * kind.depth, 0.44 * bones.along[1]) - kind.leg
    return np.array([[x + step * side, y, 0.45 * kind.depth * side] for side in (-1.0, 1.0)])


def _legs(kind: Kind, coat: Coat, bones: Skeleton, posture: str, feet: Points | None) -> list[Part]:
    if feet is None:
        return _trailing_legs(kind, coat, bones) if posture == "fly" and kind.leg > 0.6 else []
    parts: list[Part] = []
    for side, foot in zip((-1.0, 1.0), feet, strict=True):
        hip = np.array([0.1 * bones.along[0], -max(0.5 * kind.depth, 0.36 * bones.along[1]), 0.4 * kind.depth * side])
        knee = hip + 0.45 * (foot - hip) - np.array([0.16 * kind.leg, 0, 0])
        parts.append(Rod(np.array([hip, knee, foot]), kind.leg_width, coat.leg))
        parts += [Rod(np.array([foot, toe]), kind.leg_width * 0.85, lit(coat.leg, 0.9)) for toe in _toes(foot, kind)]
    return parts


def _toes(foot: Points, kind: Kind) -> list[Points]:
    length = 0.1 + 0.08 * kind.leg
    return [foot + length * np.array([x, -0.12, z]) for x, z in ((1, 0), (0.75, 0.6), (0.75, -0.6), (-0.6, 0))]


def _trailing_legs(kind: Kind, coat: Coat, bones: Skeleton) -> list[Part]:
    legs: list[Part] = []
    for side in (-1.0, 1.0):
        hip = -0.35 * bones.along - 0.12 * bones.up + np.array([0, 0, 0.08 * side])
        foot = hip - (0.4 + 0.6 * kind.leg) * bones.along - 0.05 * bones.up
        legs.append(Rod(curve([hip, foot], 6), kind.leg_width, coat.leg, order=-0.1))
    return legs
