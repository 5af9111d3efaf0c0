"""Pictures as the bytes of files."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """A picture, or uint8 pixels, as the bytes of a file of this kind."""
    stream = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, kind, **options)
    return stream.getvalue()


def no_regular_files(folder: Path) -> dict[str, str]:
    """Put what only its name makes a picture into `folder`: name -> what is said of it, in the order of the names."""
    (folder / "x-circle.png").symlink_to("x-circle.png")
    (folder / "x-folder.jpg").mkdir()
    (folder / "x-gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "x-pipe.jpg")
    nowhere, irregular = "the link leads to no file", "the file is no regular file"
    return {"x-circle.png": nowhere, "x-folder.jpg": irregular, "x-gone.jpg": nowhere, "x-pipe.jpg": irregular}
