"""Bicycles: frame, wheels, bars, saddle and drive train of any kind, seen from the side or in three-quarter view."""

import numpy as np

from train.synthetic.bicycle_kinds import KINDS, Kind, individual
from train.synthetic.chance import Colour, Rng, from_hsv, grey, happens, pick, uniform, vivid
from train.synthetic.drive import drive_train
from train.synthetic.figure import Figure, Part, Rod
from train.synthetic.fittings import basket, fenders, handlebars, kickstand, rack, saddle
from train.synthetic.frames import Joints, joints, tubes
from train.synthetic.geometry import View, heading, looking
from train.synthetic.riders import rider
from train.synthetic.wheels import Finish, wheel


def bicycle(rng: Rng) -> Figure:
    """Any bicycle; one in five is ridden."""
    name = pick(rng, list(KINDS))
    kind = individual(KINDS[name], rng)
    view = _view(rng)
    at = joints(kind, _steering(rng))
    paint, crank = _paint(rng), uniform(rng, 0, 360)
    parts = [*_frame(kind, at, paint, rng), *_wheels(kind, at, rng), *drive_train(kind, at, crank, rng)]
    parts += [*handlebars(kind, at, rng), *saddle(kind, at, rng), *_extras(kind, at, paint, rng)]
    if happens(rng, 0.2) and name != "child":
        parts += rider(kind, at, crank, rng)
    place = "air" if happens(rng, 0.06) else "ground"
    x, y, z = (float(value) for value in at.bars)
    return Figure(parts, view, place, focus=(x, y, z, 0.12))


def _view(rng: Rng) -> View:
    """Near the side view half of the time, else up to 55 degrees towards front or back."""
    yaw = rng.normal(0, 8) if happens(rng, 0.5) else pick(rng, (-1, 1)) * uniform(rng, 12, 55)
    return looking(float(yaw), uniform(rng, 0, 18), uniform(rng, -4, 4), happens(rng, 0.5), uniform(rng, 3.5, 7))


def _steering(rng: Rng) -> float:
    return float(np.clip(rng.normal(0, 4), -10, 10)) if happens(rng, 0.6) else uniform(rng, -40, 40)


def _paint(rng: Rng) -> Colour:
    return vivid(rng) if happens(rng, 0.6) else grey(rng, 0.1, 0.95)


def _frame(kind: Kind, at: Joints, paint: Colour, rng: Rng) -> list[Part]:
    parts: list[Part] = [Rod(points, radius, paint) for points, radius in tubes(kind, at)]
    parts.append(Rod(np.array([at.seat_top, at.saddle]), 0.014, grey(rng, 0.2, 0.8)))
    return parts + _fork(kind, at, paint if happens(rng, 0.6) else grey(rng, 0.1, 0.8))


def _fork(kind: Kind, at: Joints, colour: Colour) -> list[Part]:
    """Two blades, curved forward at the end; a suspension fork has thick straight lower legs."""
    blades: list[Part] = []
    for z in (-0.055, 0.055):
        side = np.array([0, 0, z])
        crown, hub = at.head_low + side * 0.8, at.front_hub + side
        knee = crown + 0.7 * (hub - crown) - (0 if kind.suspension else 0.012) * heading(90 - kind.head_angle)
        blades.append(Rod(at.steered(np.array([crown, knee, hub])), 0.012, colour))
        if kind.suspension:
            blades.append(Rod(at.steered(np.array([crown + 0.4 * (hub - crown), hub])), 0.021, (45, 45, 50)))
    bridge = np.array([at.head_low + (0, 0, -0.05), at.head_low + (0, 0, 0.05)])
    return [*blades, Rod(at.steered(bridge), 0.018, colour)]


def _wheels(kind: Kind, at: Joints, rng: Rng) -> list[Part]:
    finish = _finish(kind, rng)
    axes = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    turned = axes @ at.steering.T
    rear = wheel(at.rear_hub, kind.wheel, kind.tyre, kind.spokes, axes, finish, uniform(rng, 0, 6), kind.knobs)
    front_hub = at.steered(at.front_hub[None])[0]
    return rear + wheel(front_hub, kind.wheel, kind.tyre, kind.spokes, turned, finish, uniform(rng, 0, 6), kind.knobs)


def _finish(kind: Kind, rng: Rng) -> Finish:
    tyre = pick(rng, ((28, 28, 30), (28, 28, 30), (45, 44, 44), (150, 110, 70), (205, 195, 170)))
    if kind.knobs:
        tyre = (34, 33, 33)
    rim = vivid(rng) if happens(rng, 0.2) else grey(rng, 0.1, 0.85)
    return Finish(tyre, rim, grey(rng, 0.45, 0.85), deep=kind.bars == "drop" and happens(rng, 0.35))


def _extras(kind: Kind, at: Joints, paint: Colour, rng: Rng) -> list[Part]:
    parts: list[Part] = []
    if happens(rng, kind.fenders):
        parts += fenders(kind, at, paint if happens(rng, 0.6) else grey(rng, 0.15, 0.8))
    if happens(rng, kind.basket):
        parts += basket(kind, at, from_hsv(uniform(rng, 0.06, 0.11), uniform(rng, 0.2, 0.6), uniform(rng, 0.35, 0.75)))
    if happens(rng, kind.rack):
        parts += rack(kind, at, grey(rng, 0.1, 0.6))
    if happens(rng, 0.3):
        parts += kickstand(at)
    return parts
