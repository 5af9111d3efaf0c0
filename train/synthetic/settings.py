"""Settings: a backdrop, a ground or water, and clutter; drawn without knowing what will stand there."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from train.synthetic.backdrops import BACKDROPS, studio
from train.synthetic.chance import Rng, grey, happens, lit, mixed, pick, uniform, vivid
from train.synthetic.grounds import DRY, water
from train.synthetic.layer import Layer
from train.synthetic.props import Perch, perch
from train.synthetic.riders import bystander
from train.synthetic.solids import Light
from train.synthetic.textures import Floats, noise


@dataclass(frozen=True)
class Setting:
    """The picture behind the figure, and where a figure can be in it. Heights are 0 (top) to 1."""

    picture: Image.Image
    horizon: float
    """Ground or water begins here; 1: none in sight."""
    wet: bool
    perch: Perch | None
    even: bool
    """A studio: the ground has no edge, the figure may stand at any height."""

    def places(self) -> tuple[str, ...]:
        """Where a figure can be, besides in the air."""
        ground = () if self.horizon >= 1 else ("water",) if self.wet else ("ground",)
        return (*ground, *(("perch",) if self.perch else ()))


def setting(rng: Rng, side: int, light: Light) -> Setting:
    """Any setting: studio, open country, street, room, close-up of leaves or sky."""
    even = happens(rng, 0.12)
    horizon = uniform(rng, 0.3, 0.8) if even or happens(rng, 0.72) else 1.0
    wet = horizon < 1 and not even and happens(rng, 0.18)
    field = studio(rng, side) if even else _grained(_landscape(rng, side, horizon, wet), rng)
    picture = Image.fromarray(field.clip(0, 255).astype(np.uint8))
    if not even:
        _clutter(rng, picture, horizon, light)
    if happens(rng, 0.5):
        picture = picture.filter(ImageFilter.GaussianBlur(side * uniform(rng, 0.001, 0.018)))
    beam = perch(rng) if happens(rng, 0.25 if horizon < 1 else 0.88) else None
    return Setting(picture, horizon, wet, beam, even)


def _landscape(rng: Rng, side: int, horizon: float, wet: bool) -> Floats:
    behind = pick(rng, BACKDROPS)(rng, side)
    if horizon >= 1:
        return behind
    edge = round(horizon * side)
    below = (water if wet else pick(rng, DRY))(rng, side)
    shifted = np.roll(behind, edge - side, axis=0)  # what stands on the ground ends at the horizon
    return np.concatenate([shifted[:edge], below[edge:]])


def _grained(field: Floats, rng: Rng) -> Floats:
    """The roughness of what things are made of, from smooth to coarse."""
    side = len(field)
    grain = noise(rng, side, uniform(rng, 0.12, 0.4) * side, octaves=1)
    return field * (1 + np.float32(uniform(rng, 0, 0.5) ** 2) * grain)[:, :, None]


def _clutter(rng: Rng, picture: Image.Image, horizon: float, light: Light) -> None:
    """Things behind the figure: someone who stands there, posts, boxes, bushes."""
    for _ in range(int(rng.integers(0, 4))):
        layer = pick(rng, (_person, _post, _crate, _crate, _bush))(rng, picture.width, min(horizon, 0.9), light)
        picture.paste(layer.image, (0, 0), layer.image)


def _person(rng: Rng, side: int, horizon: float, light: Light) -> Layer:
    height, bottom = uniform(rng, 0.4, 0.9), horizon + uniform(rng, 0.02, 0.2)
    left = uniform(rng, -0.15, 0.25) if happens(rng, 0.5) else uniform(rng, 0.5, 0.9)
    return bystander(rng).fitted((left, bottom - height, 0.3, height)).painted(side, light)


def _post(rng: Rng, side: int, horizon: float, _light: Light) -> Layer:
    layer, x = Layer(side), uniform(rng, 0, 1)
    layer.stroke(
        [(x, uniform(rng, -0.2, 0.3)), (x, horizon + uniform(rng, 0.02, 0.12))],
        uniform(rng, 0.01, 0.05),
        grey(rng, 0.15, 0.7),
    )
    return layer


def _crate(rng: Rng, side: int, horizon: float, _light: Light) -> Layer:
    layer, x, bottom = Layer(side), uniform(rng, -0.1, 0.9), horizon + uniform(rng, -0.02, 0.12)
    width, height, lean = uniform(rng, 0.08, 0.35), uniform(rng, 0.06, 0.3), uniform(rng, -0.03, 0.03)
    colour = mixed(vivid(rng), grey(rng, 0.15, 0.9), uniform(rng, 0.4, 1))
    deep = uniform(rng, 0.02, 0.08)
    right = [(x + width, bottom), (x + lean + width, bottom - height)]
    layer.polygon([*right, *((a + deep, b - 0.02) for a, b in right[::-1])], lit(colour, 0.6))
    layer.polygon(
        [(x, bottom), (x + lean, bottom - height), (x + lean + width, bottom - height), (x + width, bottom)], colour
    )
    return layer


def _bush(rng: Rng, side: int, horizon: float, _light: Light) -> Layer:
    layer, x, bottom = Layer(side), uniform(rng, 0, 1), horizon + uniform(rng, -0.02, 0.06)
    green = int(uniform(rng, 70, 150))
    for dx, dy, tone in rng.normal(0, 1, (40, 3)):
        shade = 1 + 0.15 * float(tone)
        layer.disc(
            (x + 0.06 * dx, bottom - 0.03 - 0.04 * abs(dy)),
            0.025,
            (int(green * 0.6 * shade), int(green * shade), int(green * 0.4)),
        )
    return layer
