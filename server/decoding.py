"""Hostile bytes to the square that is classified, and its hash; runs in the decoding threads.

H height, W width, S side of the square.
"""

import numpy as np

from model.errors import ImageError, ImageShapeError, ImageTooLargeError
from model.pixels import Pixels, load_square, pixels_sha256, to_square
from server.problems import NotAnImage, Problem, TooLarge, WrongShape


def decode_picture(file: bytes, square: Pixels, max_pixels: int) -> str:
    """Decode a file into `square`, uint8 (S, S, 3), and return the hash of its pixels. Raises a Problem."""
    try:
        return _fill(square, load_square(file, len(square), max_pixels))
    except ImageError as error:
        raise _problem(error) from error


def copy_array(array: Pixels, square: Pixels, max_pixels: int) -> str:
    """Bring uint8 (H, W, 3) pixels into `square`, uint8 (S, S, 3), and return their hash. Raises a Problem."""
    height, width, _ = array.shape
    if height * width > max_pixels:
        raise TooLarge(f"A picture may have {max_pixels} pixels.", height * width)
    try:
        return _fill(square, to_square(np.ascontiguousarray(array), len(square)))
    except ImageError as error:
        raise _problem(error) from error


def expect_pictures(array: Pixels, dimensions: int) -> None:
    """Raises WrongShape unless the array is (H, W, 3), or (N, H, W, 3) for 4 `dimensions`."""
    if array.ndim != dimensions or array.shape[-1] != 3:
        wanted = "(H, W, 3)" if dimensions == 3 else "(N, H, W, 3)"
        raise WrongShape(f"The array must have the shape {wanted}.")


def _fill(square: Pixels, pixels: Pixels) -> str:
    square[...] = pixels
    return pixels_sha256(square)


def _problem(error: ImageError) -> Problem:
    sentence = str(error)
    sentence = sentence[0].upper() + sentence[1:] + "."
    if isinstance(error, ImageTooLargeError):
        return TooLarge(sentence, error.pixels)
    return (WrongShape if isinstance(error, ImageShapeError) else NotAnImage)(sentence)
