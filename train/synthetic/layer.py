"""A transparent sheet to draw on, in pictures' units: 0 to 1 along each side, y down."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from train.synthetic.chance import Colour

FAINTEST = 0.45
"""The least opacity of a thin line."""


class Layer:
    """`side` x `side` RGBA pixels; what is drawn later covers what was drawn before."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.image = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self.image)

    def polygon(self, points: npt.ArrayLike, colour: Colour) -> None:
        """Fill the (n, 2) outline."""
        self._draw.polygon(self._pixels(points), fill=colour)

    def stroke(self, points: npt.ArrayLike, width: float, colour: Colour, *, closed: bool = False) -> None:
        """A line of `width` through the (n, 2) points, with round ends; never thinner than a pixel."""
        pixels = self._pixels(points)
        if closed:
            pixels = [*pixels, *pixels[:2]]
        wide = max(1, round(width * self.side))
        self._draw.line(pixels, fill=colour, width=wide, joint="curve" if wide > 2 else None)
        if wide > 3 and not closed:
            for end in (pixels[0], pixels[-1]):
                self._disc(end, wide / 2, colour)

    def thin_lines(self, lines: npt.NDArray[np.float64], width: float, colours: list[Colour]) -> None:
        """Lines (n, 2, 2), each with its colour; those thinner than a pixel let through what is behind them."""
        above = Layer(self.side)
        for line, colour in zip(lines, colours, strict=True):
            above.stroke(line, width, colour)
        cover = min(1.0, max(FAINTEST, width * self.side))
        above.image.putalpha(above.image.getchannel("A").point([round(cover * value) for value in range(256)]))
        self.image.alpha_composite(above.image)

    def disc(self, centre: npt.ArrayLike, radius: float, colour: Colour) -> None:
        """A filled circle; never smaller than a pixel."""
        (pixel,) = self._pixels(np.asarray(centre, dtype=np.float64)[None])
        self._disc(pixel, max(0.6, radius * self.side), colour)

    def alpha(self) -> npt.NDArray[np.uint8]:
        """(side, side) coverage, 0 to 255."""
        return np.asarray(self.image.getchannel("A"))

    def _disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        x, y = centre
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def _pixels(self, points: npt.ArrayLike) -> list[tuple[float, float]]:
        pixels = np.clip(np.asarray(points, dtype=np.float64), -4, 5) * self.side
        return [(float(x), float(y)) for x, y in pixels]
