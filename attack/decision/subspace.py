"""The low frequencies of a picture: few numbers in which a classifier's normal is mostly found.

N vectors, S side, K frequencies a side, D = 3 S S values (row, column, channel), d coefficients.
"""

from functools import cache
from typing import Final

import numpy as np

from attack.decision.problem import Vector

CHANNELS: Final = 3
_AXES: Final = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32)
AXES: Final[Vector] = _AXES / np.linalg.norm(_AXES, axis=1, keepdims=True).astype(np.float32)
"""Colour axes of unit length: brightness, red against blue, green against both."""
COLOUR_VARIANCES: Final = (1.0, 0.11, 0.06)
"""Share of the normal's energy along each axis, relative to brightness (medians over a classifier's gradients)."""
WIDTH: Final = 0.7
"""Of the bell that the energy of a normal in few coefficients is expected to follow; see `middle`. A narrower one gains
more on photos at first, but is slow where the normal lies elsewhere."""


class LowFrequency:
    """The K x K lowest frequencies of the orthonormal DCT-II, per channel: `expand` and `reduce` are adjoint."""

    def __init__(self, side: int, frequencies: int) -> None:
        self.side, self.frequencies = side, min(side, frequencies)
        self.dim = CHANNELS * self.frequencies**2
        self.rows = _dct(side)[:, : self.frequencies].copy()
        # One matrix for all columns and channels of an interleaved row: no transposition of the picture is needed.
        self.columns = np.kron(self.rows, np.eye(CHANNELS, dtype=np.float32)).T.copy()

    def expand(self, coefficients: Vector) -> Vector:
        """(N, d) -> (N, D)."""
        n, k = len(coefficients), self.frequencies
        wide = coefficients.reshape(n * k, CHANNELS * k) @ self.columns
        pictures: Vector = np.matmul(self.rows, wide.reshape(n, k, CHANNELS * self.side)).reshape(n, -1)
        return pictures

    def reduce(self, pictures: Vector) -> Vector:
        """(N, D) -> (N, d)."""
        n, k = len(pictures), self.frequencies
        wide = np.matmul(self.rows.T, pictures.reshape(n, self.side, CHANNELS * self.side))
        coefficients: Vector = (wide.reshape(n * k, -1) @ self.columns.T).reshape(n, -1)
        return coefficients

    def low_pass(self, picture: Vector) -> Vector:
        """(D,) -> (D,) without the other frequencies."""
        passed: Vector = self.expand(self.reduce(picture[None]))[0]
        return passed


class Coordinates:
    """The d coefficients, of frequency and colour axis, in which a normal is expected to have most of its energy."""

    def __init__(self, side: int, dim: int, half: float, decay: float, centre: float = 0.0) -> None:
        """Expected energy falls as 1 / (1 + ((f - centre) / half)^2)^decay, f the frequency in half periods a side."""
        f = np.hypot(*np.ogrid[:side, :side])
        spectrum = 1 / (1 + (f - centre) ** 2 / half**2) ** decay
        variances = spectrum[..., None] * np.array(COLOUR_VARIANCES)
        chosen = np.sort(np.argsort(-variances, axis=None, kind="stable")[:dim])
        row, column, axis = np.unravel_index(chosen, variances.shape)
        self.prior: Vector = variances[row, column, axis].astype(np.float32)
        self.basis = low_frequency(side, int(max(row.max(), column.max())) + 1)
        self.places = (row * self.basis.frequencies + column) * CHANNELS + axis
        self.weights = middle(side, WIDTH)

    def expand(self, coefficients: Vector) -> Vector:
        """(N, d) -> (N, D), lengths about kept."""
        full = np.zeros((len(coefficients), self.basis.dim), np.float32)
        full[:, self.places] = coefficients
        pictures = self.basis.expand((full.reshape(-1, CHANNELS) @ AXES).reshape(len(full), -1))
        pictures *= self.weights
        return pictures

    def reduce(self, pictures: Vector) -> Vector:
        """(N, D) -> (N, d)."""
        full = self.basis.reduce(pictures * self.weights).reshape(-1, CHANNELS) @ AXES.T
        coefficients: Vector = full.reshape(len(pictures), -1)[:, self.places]
        return coefficients


@cache
def middle(side: int, width: float) -> Vector:
    """(D,) weights of root mean square 1: more in the middle of a picture, where its object is.

    Their squares, shares of energy, are a bell with a standard deviation of `width` sides.
    """
    place = (np.arange(side) + 0.5) / side - 0.5
    bell = np.exp(-(place**2) / (4 * width**2))
    weights = np.repeat(np.outer(bell, bell).ravel(), CHANNELS)
    weights /= np.sqrt((weights**2).mean())
    scaled: Vector = weights.astype(np.float32)
    return scaled


@cache
def _dct(side: int) -> Vector:
    """(S, S) orthonormal DCT-II, one frequency a column."""
    place = np.arange(side)[:, None] + 0.5
    matrix = np.cos(np.pi / side * place * np.arange(side)[None, :]) * np.sqrt(2 / side)
    matrix[:, 0] /= np.sqrt(2)
    single: Vector = matrix.astype(np.float32)
    return single


@cache
def low_frequency(side: int, frequencies: int) -> LowFrequency:
    """The shared basis: photos of a run have one side."""
    return LowFrequency(side, frequencies)


@cache
def coordinates(side: int, dim: int, half: float, decay: float, centre: float = 0.0) -> Coordinates:
    """The shared coordinates."""
    return Coordinates(side, dim, half, decay, centre)
