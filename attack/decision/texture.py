"""Random directions in all frequencies, shaped as a network's normals are, and what their answers say of the normal.

S side, D = 3 S S values (row, column, channel).
"""

from functools import cache
from typing import Final

import numpy as np

from attack.decision.problem import Vector, norm
from attack.decision.subspace import AXES, COLOUR_VARIANCES, middle

SPAN: Final = 512
"""Places a side that a window of the field may have."""
CUTOFF: Final = 0.5
"""Frequency, in half periods a pixel, beyond which a normal has little energy: a ResNet's first layer has stride 2."""
STEEPNESS: Final = 8
WIDTH: Final = 0.35
"""Of the bell that a normal's energy is expected to follow; see `middle`."""
Place = tuple[int, int, np.float32]
"""Row, column and sign of a window."""


class Texture:
    """A field of coloured noise: every S x S window is a random direction, and its place is all that must be kept.

    Two windows that overlap are alike only if they are a few pixels apart.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        white = np.random.Generator(np.random.SFC64(0)).standard_normal((SPAN + side, SPAN + side, 3), np.float32)
        self.weights = middle(side, WIDTH).reshape(side, side, 3)
        self.field = _shaped(white, 0.5)
        self.field /= np.sqrt((self.field**2).mean() * (self.weights**2).sum())

    def places(self, rng: np.random.Generator, n: int) -> list[Place]:
        """n random windows."""
        rows, columns = rng.integers(0, SPAN, (2, n)).tolist()
        signs = (rng.integers(0, 2, n) * 2 - 1).astype(np.float32)
        return list(zip(rows, columns, signs, strict=True))

    def direction(self, place: Place, length: float = 1.0) -> Vector:
        """(D,) of about this length."""
        row, column, sign = place
        direction: Vector = (self._window(row, column) * self.weights).ravel()
        direction *= sign * np.float32(length)
        return direction

    def sum(self, places: list[Place], weights: Vector) -> Vector:
        """(D,) the sum of the directions at N places, each times its weight."""
        total, weighted = np.zeros_like(self.weights), np.empty_like(self.weights)
        for (row, column, sign), weight in zip(places, weights, strict=True):
            total += np.multiply(self._window(row, column), sign * weight, out=weighted)
        summed: Vector = (total * self.weights).ravel()
        return summed

    def normal(self, total: Vector) -> Vector:
        """(D,) the likeliest unit normal, by a (D,) sum of directions, each with the sign of its answer.

        Such a sum is the normal times the directions' covariance C, and noise of covariance C; under the prior C the
        mean of the normal is C times the sum.
        """
        shaped = _shaped(total.reshape(self.side, self.side, 3), 1.0) * self.weights
        normal: Vector = shaped.ravel()
        return normal / np.float32(max(norm(normal), 1e-12))

    def _window(self, row: int, column: int) -> Vector:
        return self.field[row : row + self.side, column : column + self.side]


@cache
def texture(side: int) -> Texture:
    """The shared field: photos of a run have one side."""
    return Texture(side)


def _shaped(x: Vector, power: float) -> Vector:
    """(H, W, 3) with spectrum and colours weighted by a power of their expected energies; opposite edges meet."""
    h, w, _ = x.shape
    f = 2 * np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :])
    energy = (1 / (1 + (f / CUTOFF) ** STEEPNESS)) ** power
    planes = np.fft.irfft2(np.fft.rfft2(x, axes=(0, 1)) * energy[..., None], (h, w), axes=(0, 1))
    shaped: Vector = (planes @ (AXES.T * np.array(COLOUR_VARIANCES) ** power @ AXES)).astype(np.float32)
    return shaped
