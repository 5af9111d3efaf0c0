"""Where the walks lead at exactly the limit, as files: a later evaluation shows them beside those of its own model."""

import io
from pathlib import Path
from typing import Final

from PIL import Image

from attack.evaluation.session import Result
from model.files import fitting, replace_file
from model.pixels import Pixels

AT_THE_LIMIT: Final = "at_the_limit"
KINDS: Final = ("before", "after")
WEBP_QUALITY: Final = 90


def clear(out: Path) -> None:
    """Delete the pictures of an earlier evaluation, which may have been of another model."""
    for kind in KINDS:
        for file in (out / AT_THE_LIMIT).glob(f"*.{kind}.png"):
            file.unlink()


def save(out: Path, row: str, result: Result) -> list[dict[str, str]]:
    """Write a row's pictures, `at_the_limit/label-only.bird-0001.jpg.after.png`; what the report says of each."""
    entries = []
    for shot in result.detail.get(AT_THE_LIMIT, ()):
        entry = {"photo": shot.photo}
        for kind, pixels in zip(KINDS, (shot.before, shot.after), strict=True):
            file = Path(AT_THE_LIMIT) / fitting(f"{row}.{shot.photo.replace('/', '-')}", f".{kind}.png")
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            replace_file(out / file, encoded(pixels, "PNG"))
            entry[kind] = file.as_posix()
        entries.append(entry)
    return entries


def encoded(pixels: Pixels, kind: str) -> bytes:
    """(S, S, 3) as a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, quality=WEBP_QUALITY)
    return stream.getvalue()
