"""What a whole body holds: the decoders of its pictures, by its type. N images, H height, W width."""

from collections.abc import Callable
from functools import partial

from server.bodies import FORM_TYPE, NPY_TYPE, read_form, read_npy
from server.decode_pool import Decode
from server.decoding import copy_array, decode_picture, expect_pictures
from server.problems import TooLarge, UnknownType, WrongShape

Parse = Callable[[str, bytes, bytes], list[Decode]]
"""Content type, boundary of a form and body -> the decoders of the pictures, in order. Raises a Problem."""


def one_picture(kind: str, boundary: bytes, body: bytes) -> list[Decode]:
    """The decoder of the only picture of a body of any type."""
    if kind == FORM_TYPE:
        body, *more = read_form(body, boundary, "image", 2)
        if more:
            raise WrongShape("The form must have one field named image; /predict/batch takes several named images.")
    if kind != NPY_TYPE:
        return [partial(decode_picture, body)]
    array = read_npy(body)
    expect_pictures(array, 3)
    return [partial(copy_array, array)]


def pictures(max_images: int, kind: str, boundary: bytes, body: bytes) -> list[Decode]:
    """The decoders of at most `max_images` pictures of a form or an array (N, H, W, 3)."""
    if kind == FORM_TYPE:
        return [partial(decode_picture, file) for file in read_form(body, boundary, "images", max_images)]
    if kind != NPY_TYPE:
        raise UnknownType(f"A batch is {NPY_TYPE} or {FORM_TYPE}.")
    arrays = read_npy(body)
    expect_pictures(arrays, 4)
    if len(arrays) > max_images:
        raise TooLarge(f"A batch may have {max_images} images.")
    return [partial(copy_array, array) for array in arrays]
