"""A scene: one bicycle or bird in a setting, with its shadow or reflection and what is in front of it."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from train.synthetic.bicycles import bicycle
from train.synthetic.birds import bird
from train.synthetic.chance import Rng, happens, uniform
from train.synthetic.figure import Disc, Figure
from train.synthetic.layer import Layer
from train.synthetic.lens import exposed
from train.synthetic.props import obstacle
from train.synthetic.settings import Setting, setting
from train.synthetic.solids import Light

SUPERSAMPLING = 2
MOST_HIDDEN = 0.18
"""At most this share of a figure lies behind something."""
MOST_HIDDEN_OF_HEAD = 0.06
"""At most this share of a bird's head does, of a bicycle's bars."""

LEAST_CONTRAST = 45.0
"""Of the figure to what it covers, in steps of 255."""
TONES = (0.0, -0.3, 0.3, -0.5, 0.5, -0.7, 0.7)


def render(label: int, seed: int, size: int) -> npt.NDArray[np.uint8]:
    """A picture of a bicycle (label 0) or a bird (label 1): (size, size, 3) uint8, fixed by the three arguments.

    Setting, light, obstacles and camera are drawn alike for both labels, so that only the figure tells them apart.
    """
    rng = np.random.default_rng([seed, label])
    side = SUPERSAMPLING * size
    light = _light(rng)
    place = setting(rng, side, light)
    figure = _placed(bird(rng, place.places()) if label else bicycle(rng), place, rng)
    return exposed(_composed(figure, place, side, light, rng), size, rng)


def _light(rng: Rng) -> Light:
    direction = np.array([uniform(rng, -0.9, 0.9), uniform(rng, 0.35, 1), uniform(rng, 0.3, 0.9)])
    return Light(direction / np.linalg.norm(direction), uniform(rng, 0.38, 0.62))


def _placed(figure: Figure, place: Setting, rng: Rng) -> Figure:
    """Sized to 66 to 95 % of the side, and put where it belongs."""
    where = figure.place
    if where == "ground" and "ground" not in place.places():
        where = "water" if place.wet else "perch" if place.perch else "air"
    size = uniform(rng, 0.66, 0.95)
    middle = 0.5 + uniform(rng, -1, 1) * max(0.0, 0.48 - size / 2)
    bottom = _bottom(where, place, size, rng)
    size = min(size, bottom - 0.03)
    sunk = (figure.sunk or 0.06) if where == "water" else 0.0
    return replace(figure.fitted((middle - size / 2, bottom - size, size, size)), place=where, sunk=sunk)


def _bottom(where: str, place: Setting, size: float, rng: Rng) -> float:
    """The height (0 top, 1 bottom) of the figure's lowest point."""
    if where == "perch":
        return uniform(rng, 0.78, 0.96)
    if where == "air":
        return min(0.96, size + uniform(rng, 0.03, 0.3))
    low = 0.7 if place.even else max(0.72, place.horizon + 0.06)
    return uniform(rng, low, 0.96)


def _composed(figure: Figure, place: Setting, side: int, light: Light, rng: Rng) -> Image.Image:
    picture = place.picture.copy()
    drawn = figure.painted(side, light)
    stands_at = figure.standing_height(_rows(drawn)[1] / side)
    if place.perch:
        beam = Layer(side)
        (place.perch.under(stands_at) if figure.place == "perch" else place.perch).paint(beam, rng)
        picture.paste(beam.image, (0, 0), beam.image)
    picture = _set_off(picture, drawn)
    if figure.place == "ground":
        _cast_shadow(picture, drawn, stands_at, light, rng)
    if figure.place == "water":
        _reflect(picture, drawn, figure.sunk, rng)
    picture.paste(drawn.image, (0, 0), drawn.image)
    if happens(rng, 0.45):
        _obstruct(picture, drawn, figure.focus_in_picture(), side, rng)
    return picture


def _set_off(picture: Image.Image, drawn: Layer) -> Image.Image:
    """Darken or brighten the setting where the figure would be lost in it."""
    seen = np.asarray(drawn.image)[::3, ::3]
    covered = seen[:, :, 3] > 128
    figure = seen[covered][:, :3].astype(np.float32)
    behind = np.asarray(picture)[::3, ::3][covered].astype(np.float32)
    for tone in TONES:
        if _contrast(figure, _toned(behind, tone)) >= LEAST_CONTRAST:
            break
    values = _toned(np.arange(256, dtype=np.float32), tone)
    return picture.point([round(float(value)) for value in values] * 3) if tone else picture


def _toned(values: npt.NDArray[np.float32], tone: float) -> npt.NDArray[np.float32]:
    """Values, 0 to 255, moved by the share |tone| towards black (tone < 0) or white."""
    return np.asarray(values + (max(0.0, 255.0 * np.sign(tone)) - values) * abs(tone), dtype=np.float32)


def _contrast(figure: npt.NDArray[np.float32], behind: npt.NDArray[np.float32]) -> float:
    """How far in colour, per channel, two thirds of the figure at least are from what they cover."""
    return float(np.quantile(np.abs(figure - behind).mean(axis=1), 1 / 3))


def _rows(drawn: Layer) -> tuple[int, int]:
    """The first and last row of the figure."""
    _, top, _, bottom = drawn.image.getchannel("A").getbbox() or (0, 0, drawn.side, drawn.side)
    return top, bottom


def _cast_shadow(picture: Image.Image, drawn: Layer, stands_at: float, light: Light, rng: Rng) -> None:
    """The figure's outline laid on the ground, away from the light, soft."""
    alpha = drawn.image.getchannel("A")
    flat, skew = uniform(rng, 0.12, 0.3), float(light.direction[0]) * 0.9
    towards = -1 if happens(rng, 0.5) else 1  # before or behind the figure
    base = (stands_at - 0.012) * drawn.side
    stretch = towards / flat
    matrix = (1.0, skew * stretch, -skew * stretch * base, 0.0, stretch, base - stretch * base)
    laid = alpha.transform(alpha.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    soft = laid.filter(ImageFilter.GaussianBlur(drawn.side * uniform(rng, 0.003, 0.015)))
    strength = uniform(rng, 0.15, 0.6)
    picture.paste((18, 18, 24), (0, 0), soft.point([round(strength * value) for value in range(256)]))


def _reflect(picture: Image.Image, drawn: Layer, sunk: float, rng: Rng) -> None:
    """Hide what is under water and mirror what is above."""
    top, bottom = _rows(drawn)
    line = round(bottom - sunk * (bottom - top))
    alpha = np.array(drawn.image.getchannel("A"))
    wave = np.round(0.006 * drawn.side * np.sin(np.arange(drawn.side) / drawn.side * uniform(rng, 30, 70))).astype(int)
    alpha[np.arange(drawn.side)[:, None] > line + wave[None, :]] = 0
    drawn.image.putalpha(Image.fromarray(alpha))
    flipped = drawn.image.transform(drawn.image.size, Image.Transform.AFFINE, (1, 0, 0, 0, -1, 2 * line))
    flipped = flipped.filter(ImageFilter.GaussianBlur(drawn.side * 0.006))
    picture.paste(flipped, (0, 0), flipped.getchannel("A").point([round(0.4 * value) for value in range(256)]))


def _obstruct(picture: Image.Image, drawn: Layer, focus: Disc, side: int, rng: Rng) -> None:
    """Put something in front that hides little of the figure; nothing if three tries hide too much."""
    figure = drawn.alpha() > 0
    head = figure & _around(focus, side)
    for _ in range(3):
        front = obstacle(rng, side)
        hides = front.alpha() > 0
        if max(_share(hides, figure) / MOST_HIDDEN, _share(hides, head) / MOST_HIDDEN_OF_HEAD) <= 1:
            picture.paste(front.image, (0, 0), front.image)
            return


def _around(focus: Disc, side: int) -> npt.NDArray[np.bool_]:
    """The pixels of a disc."""
    x, y, radius = focus
    steps = (np.arange(side) + 0.5) / side
    inside: npt.NDArray[np.bool_] = (steps - x) ** 2 + (steps[:, None] - y) ** 2 < radius**2
    return inside


def _share(hides: npt.NDArray[np.bool_], what: npt.NDArray[np.bool_]) -> float:
    """How much of `what` is hidden."""
    return float((hides & what).sum() / max(1, what.sum()))
