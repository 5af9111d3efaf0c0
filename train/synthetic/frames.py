"""Frame geometry: where the joints of a bicycle are.

Space is in metres: x forward, y up from the ground, z to the drive side; all joints lie in z = 0 until
the bars are turned.
"""

from dataclasses import dataclass

import numpy as np

from train.synthetic.bicycle_kinds import Kind
from train.synthetic.geometry import Points, heading, turn


@dataclass(frozen=True)
class Joints:
    """The joints of a frame, (3,) each; `steering` (3, 3) turns what is fixed to the fork about `head_top`."""

    rear_hub: Points
    bracket: Points
    seat_top: Points
    saddle: Points
    head_top: Points
    head_low: Points
    front_hub: Points
    bars: Points
    steering: Points

    def steered(self, points: Points) -> Points:
        """Points (n, 3) of the fork, the bars or the front wheel, turned with them."""
        return np.asarray((points - self.head_top) @ self.steering.T + self.head_top, dtype=np.float64)


def joints(kind: Kind, steering_degrees: float) -> Joints:
    """Solve the frame from its measures: both wheels stand on the ground."""
    rear = np.array([0.0, kind.wheel, 0.0])
    bracket = np.array([np.sqrt(kind.chainstay**2 - kind.drop**2), kind.wheel - kind.drop, 0.0])
    up_seat, up_head = heading(180 - kind.seat_angle), heading(180 - kind.head_angle)
    head_top = bracket + (kind.reach, kind.stack, 0)
    head_low = head_top - up_head * min(0.13, 0.25 * kind.stack)
    rake = 0.045 * heading(90 - kind.head_angle)
    fork_length = (head_low[1] + rake[1] - kind.wheel) / up_head[1]
    front = head_low - fork_length * up_head + rake
    return Joints(
        rear,
        bracket,
        bracket + kind.seat_tube * up_seat,
        bracket + kind.saddle * up_seat,
        head_top,
        head_low,
        front,
        head_top + kind.stem_rise * up_head,
        turn(up_head, steering_degrees),
    )


def tubes(kind: Kind, at: Joints) -> list[tuple[Points, float]]:
    """The tubes of the frame as (points, radius), chain and seat stays on both sides of the wheel."""
    head = at.head_top + 0.3 * (at.head_low - at.head_top)
    low = at.head_top + 0.8 * (at.head_low - at.head_top)
    main = _MAIN[kind.frame](at, head, low)
    stays = [
        (np.array([start, at.rear_hub + (0, 0, z)]), 0.55 * kind.tube)
        for start in (at.bracket, at.seat_top + 0.06 * (at.bracket - at.seat_top))
        for z in (-0.055, 0.055)
    ]
    seat = np.array([at.bracket, at.seat_top])
    column = np.array([at.head_top, at.head_low])
    return [*stays, (seat, kind.tube), (column, kind.tube * 1.15), *((points, kind.tube * 1.05) for points in main)]


def _diamond(at: Joints, head: Points, low: Points) -> list[Points]:
    return [np.array([at.bracket, low]), np.array([at.seat_top + 0.04 * (at.bracket - at.seat_top), head])]


def _low_step(at: Joints, head: Points, low: Points) -> list[Points]:
    middle = at.bracket + 0.45 * (head - at.bracket) + (0.02, -0.02, 0)
    meets = at.bracket + 0.35 * (at.seat_top - at.bracket)
    return [np.array([at.bracket, low]), _bent(head, middle + (0.0, 0.02, 0), meets)]


def _cruiser(at: Joints, head: Points, low: Points) -> list[Points]:
    return [
        _bent(at.bracket, (at.bracket + low) / 2 + (0.03, -0.05, 0), low),
        _bent(at.seat_top, (at.seat_top + head) / 2 + (0, 0.05, 0), head),
        _bent(at.seat_top * 0.75 + at.bracket * 0.25, (at.seat_top + low) / 2 + (0.0, 0.02, 0), low),
    ]


def _single(at: Joints, _head: Points, low: Points) -> list[Points]:
    return [_bent(low, (low + at.bracket) / 2 + (0.05, -0.02, 0), at.bracket + 0.15 * (at.seat_top - at.bracket))]


def _sprung(at: Joints, head: Points, low: Points) -> list[Points]:
    pivot = at.bracket + 0.55 * (at.seat_top - at.bracket)
    return [
        *_diamond(at, head, low),
        np.array([pivot, at.bracket + 0.45 * (low - at.bracket) + (0, 0.05, 0)]),
        np.array([pivot, at.rear_hub + 0.3 * (pivot - at.rear_hub)]),
    ]


_MAIN = {"diamond": _diamond, "step": _low_step, "cruiser": _cruiser, "single": _single, "sprung": _sprung}


def _bent(start: Points, middle: Points, end: Points) -> Points:
    """A tube bent through `middle`: a quadratic curve (12, 3)."""
    t = np.linspace(0, 1, 12)[:, None]
    control = 2 * middle - (start + end) / 2
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)
