"""People in simple form: the rider of a bicycle, and someone who stands beside. Space in metres."""

import numpy as np

from train.synthetic.bicycle_kinds import Kind
from train.synthetic.chance import Colour, Rng, from_hsv, grey, happens, lit, pick, uniform, vivid
from train.synthetic.drive import pedals
from train.synthetic.figure import Figure, Part
from train.synthetic.fittings import bar_ends
from train.synthetic.frames import Joints
from train.synthetic.geometry import Points, looking
from train.synthetic.solids import Chain, Solid, chain, plain


def rider(kind: Kind, at: Joints, crank_degrees: float, rng: Rng) -> list[Part]:
    """Hips on the saddle, feet on the pedals, hands on the bars."""
    size = min(1.0, 0.45 + 0.55 * kind.saddle / 0.65)
    skin, shirt, trousers, shoes = _clothes(rng)
    hip = at.saddle + (0.02, 0.12 * size, 0)
    hands, feet = bar_ends(kind, at), pedals(kind, at, crank_degrees) + (0, 0.05, 0)
    lean = np.clip(hands.mean(axis=0)[1] - at.saddle[1], -0.1, 0.4)
    shoulder = hip + size * np.array([0.34 - 0.45 * lean, 0.4 + 0.25 * lean, 0])
    parts: list[Part] = [Solid(_trunk(hip, shoulder, size, shirt, trousers) + _head(shoulder, size, skin, rng))]
    for foot, hand, z in zip(feet, hands, (0.09, -0.09), strict=True):
        knee = _joint(hip + (0, 0, z), foot, 0.45 * size, 0.45 * size, 1)
        bare = happens(rng, 0.4)
        parts.append(
            Solid(
                [
                    chain([hip + (0, 0, z), knee], [0.095 * size, 0.065 * size], plain(trousers), 12),
                    chain([knee, foot], [0.062 * size, 0.04 * size], plain(skin if bare else trousers), 12),
                    chain([foot + (-0.05, 0, 0), foot + (0.11, -0.02, 0)], [0.04, 0.035], plain(shoes), 8),
                ],
                order=z * 0.2,
            )
        )
        at_shoulder = shoulder + (0, -0.03, 1.7 * z * size)
        elbow = _joint(at_shoulder, hand, 0.32 * size, 0.32 * size, -1)
        parts.append(
            Solid(
                [
                    chain([at_shoulder, elbow], [0.055 * size, 0.045 * size], plain(shirt), 10),
                    chain([elbow, hand], [0.042 * size, 0.035 * size], plain(skin), 10),
                ],
                order=z * 0.2,
            )
        )
    return parts


def bystander(rng: Rng) -> Figure:
    """Someone who stands, hands down, feet apart."""
    skin, shirt, trousers, shoes = _clothes(rng)
    hip, shoulder = np.array([0, 0.9, 0]), np.array([0, 1.42, 0])
    chains = [*_trunk(hip, shoulder, 1.0, shirt, trousers), *_head(shoulder, 1.0, skin, rng)]
    for z in (-0.1, 0.1):
        step = uniform(rng, -0.12, 0.12)
        chains.append(
            chain([(0, hip[1], z), (step / 2, 0.48, z), (step, 0.06, z)], [0.1, 0.07, 0.05], plain(trousers), 16)
        )
        chains.append(chain([(step, 0.04, z), (step + 0.13, 0.03, z)], [0.05, 0.04], plain(shoes), 6))
        swing = uniform(rng, -0.15, 0.2)
        chains.append(
            chain(
                [(0, 1.38, 2.1 * z), (0.02, 1.1, 2.5 * z), (swing, 0.85, 2.5 * z)], [0.06, 0.05, 0.04], plain(shirt), 14
            )
        )
    return Figure([Solid(chains)], looking(uniform(rng, -180, 180), 4, 0, False, 8), "ground")


def _clothes(rng: Rng) -> tuple[Colour, Colour, Colour, Colour]:
    skin = pick(rng, ((238, 200, 170), (205, 155, 115), (150, 100, 70), (95, 65, 48)))
    trousers = grey(rng, 0.12, 0.4) if happens(rng, 0.6) else from_hsv(0.6, 0.5, uniform(rng, 0.3, 0.6))
    return skin, vivid(rng) if happens(rng, 0.7) else grey(rng, 0.1, 0.95), trousers, grey(rng, 0.1, 0.9)


def _trunk(hip: Points, shoulder: Points, size: float, shirt: Colour, trousers: Colour) -> list[Chain]:
    middle = (hip + shoulder) / 2
    return [
        chain([hip, hip + 0.35 * (middle - hip)], [0.14 * size, 0.14 * size], plain(trousers), 6),
        chain(
            [hip + 0.4 * (middle - hip), middle, shoulder], [0.14 * size, 0.15 * size, 0.12 * size], plain(shirt), 14
        ),
        chain([shoulder + (0, 0, -0.14 * size), shoulder + (0, 0, 0.14 * size)], [0.075 * size] * 2, plain(shirt), 8),
    ]


def _head(shoulder: Points, size: float, skin: Colour, rng: Rng) -> list[Chain]:
    top = shoulder + size * np.array([0.08, 0.25, 0])
    hair = vivid(rng) if happens(rng, 0.4) else from_hsv(uniform(rng, 0.05, 0.12), 0.5, uniform(rng, 0.1, 0.6))
    return [
        chain([shoulder, top], [0.05 * size, 0.05 * size], plain(lit(skin, 0.9)), 6),
        chain([top, top + (0.01, -0.04, 0)], [0.1 * size, 0.09 * size], plain(skin), 4),
        chain(
            [top + size * np.array([-0.03, 0.045, 0]), top + size * np.array([0.02, 0.05, 0])],
            [0.105 * size] * 2,
            plain(hair),
            4,
        ),
    ]


def _joint(start: Points, end: Points, upper: float, lower: float, bend: int) -> Points:
    """The knee (`bend` 1: forward) or elbow (-1) between two ends: two circles meet, in the sagittal plane."""
    line = end - start
    distance = min(float(np.linalg.norm(line)), 0.995 * (upper + lower))
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    height = np.sqrt(max(upper**2 - along**2, 1e-4))
    unit = line / np.linalg.norm(line)
    across = np.array([-unit[1], unit[0], 0.0])
    joint: Points = start + along * unit + bend * height * across
    return joint
