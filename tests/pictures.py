"""Pictures as the bytes of files."""

import io

import numpy as np
from PIL import Image


def encoded(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """A picture, or uint8 pixels, as the bytes of a file of this kind."""
    stream = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, kind, **options)
    return stream.getvalue()
