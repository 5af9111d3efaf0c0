"""Which photos belong to a split: the kit's lists of ids, and its rule for `extras` over the Open Images boxes."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from model.console import progress
from model.errors import DownloadError
from model.labels import CLASSES
from train.official import ID_PATTERN, PER_CLASS
from train.official.fetch import Fetcher

OPEN_IMAGES_CLASS: Final[dict[bytes, str]] = {b"/m/0199g": "bicycle", b"/m/015p6": "bird"}
BOXES_HEADER: Final = b"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
MIN_AREA: Final = 0.2**2
"""A box must cover more than this share of the photo."""
MAX_LINE: Final = 4096
"""Bytes; a line of the boxes file has about 85."""


def listed_ids(fetcher: Fetcher, class_name: str) -> tuple[list[str], list[str]]:
    """The ids of (test, train) of a class: the first 125 lines of the kit's list, and the next 125.

    Raises DownloadError when the list is something else or too short.
    """
    url = f"{fetcher.settings.ids_url}/{class_name}_image_ids.csv"
    ids = fetcher.get(url).decode("utf-8", "replace").split()
    test, train = PER_CLASS["test"], PER_CLASS["train"]
    wrong = next((line for line in ids if not re.fullmatch(ID_PATTERN, line)), None)
    if wrong is not None or len(set(ids)) != len(ids) or len(ids) < test + train:
        reason = f"{wrong[:40]!r} is no id" if wrong else f"{len(set(ids))} ids, {test + train} are needed"
        raise DownloadError(f"{url}: not the kit's list of ids ({reason}); see TRADES_BOB_DOWNLOAD_IDS_URL")
    return ids[:test], ids[test : test + train]


def extra_ids(fetcher: Fetcher, taken: dict[str, set[str]]) -> dict[str, list[str]]:
    """The ids of `extras`: photos with a large enough box of the class, without the `taken` ones of that class.

    Sorted, the first 13,750 of each class, as the kit does; a photo of a bird and a bicycle is in both, again as there.
    The boxes file flows through; only the ids found are held.
    """
    found: dict[str, set[str]] = {name: set() for name in CLASSES}
    for class_name, photo in large_boxes(_lines(_shown(fetcher)), fetcher.settings.boxes_url):
        found[class_name].add(photo)
    return {name: sorted(found[name] - taken[name])[: PER_CLASS["extras"]] for name in found}


def large_boxes(lines: Iterable[bytes], source: str) -> Iterator[tuple[str, str]]:
    """(class, photo id) of each box of a bird or a bicycle that is large enough, from the lines of the boxes file."""
    lines = iter(lines)
    if not next(lines, b"").startswith(BOXES_HEADER):
        raise DownloadError(f"{source}: not the Open Images V4 boxes file; see TRADES_BOB_DOWNLOAD_BOXES_URL")
    for line in lines:
        fields = line.split(b",", 8)
        class_name = OPEN_IMAGES_CLASS.get(fields[2]) if len(fields) > 2 else None
        if class_name is None:
            continue
        try:
            left, right, top, bottom = (float(field) for field in fields[4:8])
            photo = fields[0].decode("ascii")
            if not re.fullmatch(ID_PATTERN, photo):
                raise ValueError("a file of that name could lie anywhere")
        except ValueError as error:
            raise DownloadError(f"{source}: a line that is no box: {line[:60].decode(errors='replace')}") from error
        if (right - left) * (bottom - top) > MIN_AREA:
            yield class_name, photo


def _shown(fetcher: Fetcher) -> Iterator[bytes]:
    """The boxes file, with a bar in MB."""
    parts = fetcher.stream(fetcher.settings.boxes_url)
    first, total = next(parts, (b"", None))
    with progress("boxes, MB", (total or 1_200_000_000) // 10**6) as report:
        yield first
        done = len(first)
        for part, _ in parts:
            done += len(part)
            report(done // 10**6)
            yield part


def _lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines from parts cut anywhere; an endless line is cut rather than held."""
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
        rest = rest[:MAX_LINE]
    if rest:
        yield rest
