"""`trades-bob data download`: the official splits as folders of 299 x 299 JPEGs; started again, it goes on."""

import errno
import io
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from model.console import progress, say
from model.errors import ConfigError, DataError, DownloadError, EndpointError, ImageError
from model.files import replace_file
from model.labels import CLASSES
from model.pixels import read_picture, to_square
from train.official import SIDE, SPLITS
from train.official.fetch import Fetcher, NotServedError, StoppedError
from train.official.ids import extra_ids, listed_ids
from train.official.manifest import Manifest, Place, read_manifest
from train.official.settings import DownloadSettings

DECODE_ATTEMPTS: Final = 3
"""Requests for a photo whose bytes are no picture, before it is given up."""
UNANSWERED_IN_A_ROW: Final = 24
"""After so many photos without an answer the server is down, and going on would take days."""
STALE_S: Final = 3600
"""A half-written file as old as this belongs to no download that still runs."""
GONE: Final = "gone"


class Outcome(NamedTuple):
    """How the search for one photo ended."""

    place: Place
    missing: str = ""
    """Why it could not be had; empty when it is there."""
    unanswered: bool = False
    size_bytes: int = 0
    """What came over the wire."""


def download(out: Path, splits: Iterable[str], settings: DownloadSettings) -> Manifest:
    """Bring the splits into OUT/SPLIT/{bicycle,bird}/ID.jpg; photos that are there and whole are left alone.

    Returns the manifest, also in OUT/official.json, whose `missing` names each photo that could not be had. Raises
    DownloadError when the server is down, the disk full, or a class of a split has no photo at all.
    """
    asked = set(splits)
    if not asked or asked - set(SPLITS):
        raise ConfigError(f"--split {', '.join(sorted(asked - set(SPLITS)))}: choose from {', '.join(SPLITS)}")
    wanted = [split for split in SPLITS if split in asked]
    with _disk_troubles(out), Fetcher(settings) as fetcher:
        for folder in (out / split / name for split in wanted for name in CLASSES):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_stale(folder)
        manifest = _manifest(out, wanted, fetcher)
        for split in wanted:
            _bring_split(out, split, manifest, fetcher)
    return manifest


def _manifest(out: Path, wanted: list[str], fetcher: Fetcher) -> Manifest:
    """What an earlier call learnt, and the ids of the splits that are not known yet."""
    settings = fetcher.settings
    sources = {"ids": settings.ids_url, "boxes": settings.boxes_url, "images": settings.images_url}
    manifest = read_manifest(out) or Manifest(sources=sources)
    if manifest.sources != sources:
        raise ConfigError(f"{out}: was begun with other addresses, see its official.json; give a new --out")
    if "test" not in manifest.splits:
        lists = {name: listed_ids(fetcher, name) for name in CLASSES}
        manifest.splits["test"] = {name: test for name, (test, _) in lists.items()}
        manifest.splits["train"] = {name: train for name, (_, train) in lists.items()}
        manifest.save(out)
    if "extras" in wanted and "extras" not in manifest.splits:
        taken = {name: {*manifest.splits["test"][name], *manifest.splits["train"][name]} for name in CLASSES}
        manifest.splits["extras"] = extra_ids(fetcher, taken)
        manifest.save(out)
    return manifest


def _bring_split(out: Path, split: str, manifest: Manifest, fetcher: Fetcher) -> None:
    places = list(manifest.places(split))
    missing: dict[str, str] = {}
    unanswered = done = received = 0
    started = time.monotonic()
    with progress(split, len(places)) as report:
        for outcome in _in_parallel(lambda place: _bring(out, place, fetcher), places, fetcher):
            done, received = done + 1, received + outcome.size_bytes
            if outcome.missing:
                missing[outcome.place.file] = outcome.missing
            unanswered = unanswered + 1 if outcome.unanswered else 0
            if unanswered == UNANSWERED_IN_A_ROW:
                raise DownloadError(
                    f"no answer to the last {unanswered} photos ({outcome.missing}); run it again later"
                )
            speed = received / 1e6 / max(time.monotonic() - started, 1e-3)
            report(done, missing=str(len(missing)), MB_per_s=f"{speed:.1f}")
    others = {file: reason for file, reason in manifest.missing.items() if not file.startswith(f"{split}/")}
    manifest.missing = others | dict(sorted(missing.items()))
    manifest.save(out)
    _tell(out, split, manifest)


def _tell(out: Path, split: str, manifest: Manifest) -> None:
    """One line about the split. Raises DownloadError when a class has no photo."""
    missing = {file: reason for file, reason in manifest.missing.items() if file.startswith(f"{split}/")}
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(map(_kind, missing.values())).items())
    expected = sum(len(manifest.expected(split, name)) for name in CLASSES)
    listed = f"; {reasons}: listed in {out / 'official.json'}" if missing else ""
    say(f"{split}: {expected - len(missing)} of {expected} photos{listed}")
    for name in CLASSES:
        files = [f"{split}/{name}/{file}" for file in manifest.expected(split, name)]
        if all(file in missing for file in files):
            why = missing[files[0]] if files else "no id"
            raise DownloadError(f"{out / split / name}: none of its photos could be had ({why}); is the address right?")


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


def _in_parallel(work: Callable[[Place], Outcome], places: Iterable[Place], fetcher: Fetcher) -> Iterator[Outcome]:
    """Outcomes as they come. A worker takes its next photo when it has done one, so few are under way.

    An error ends all. Daemon threads: after an interrupt nobody waits for a silent server, and files are written whole
    or not at all.
    """
    rest, taking = iter(places), threading.Lock()
    outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()

    def worker() -> None:
        try:
            while not fetcher.stop.is_set():
                with taking:
                    place = next(rest, None)
                if place is None:
                    break
                outcomes.put(work(place))
        except BaseException as error:  # noqa: BLE001  (raised again where the outcomes are read)
            outcomes.put(error)
        outcomes.put(None)

    working = fetcher.settings.workers
    for _ in range(working):
        threading.Thread(target=worker, daemon=True).start()
    try:
        while working:
            match outcomes.get():
                case None:
                    working -= 1
                case BaseException() as error:
                    raise error
                case Outcome() as outcome:
                    yield outcome
    except BaseException:
        fetcher.stop.set()
        raise


def _bring(out: Path, place: Place, fetcher: Fetcher) -> Outcome:
    path = out / place.file
    if _whole(path):
        return Outcome(place)
    url = f"{fetcher.settings.images_url}/{place.id}.jpg"
    trouble = ""
    for _ in range(DECODE_ATTEMPTS):
        try:
            content = fetcher.get(url)
            replace_file(path, kit_square(content))
        except NotServedError as error:
            return Outcome(place, GONE if error.gone else f"refused: status {error.status}")
        except EndpointError as error:
            return Outcome(place, f"unanswered: {error}", unanswered=True)
        except StoppedError:
            raise
        except (ImageError, DownloadError) as error:
            trouble = f"no picture: {error}"
        else:
            return Outcome(place, size_bytes=len(content))
    return Outcome(place, trouble)


def kit_square(content: bytes) -> bytes:
    """The bytes of a photo -> a JPEG of 299 x 299 as the kit stores it: shorter side to 299, centre crop, quality 75.

    Like the kit it leaves EXIF orientations alone; unlike it, it stores RGB always. Raises ImageError for no picture.
    """
    stream = io.BytesIO()
    Image.fromarray(to_square(read_picture(content, upright=False), SIDE)).save(stream, "JPEG")
    return stream.getvalue()


def _whole(path: Path) -> bool:
    try:
        return path.exists() and read_picture(path).size == (SIDE, SIDE)
    except ImageError:
        return False


def _remove_stale(folder: Path) -> None:
    """Half-written files of a download that was killed."""
    for file in folder.glob(".*.jpg.*"):
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > STALE_S:
                file.unlink()


@contextmanager
def _disk_troubles(out: Path) -> Iterator[None]:
    """What the disk says, in one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"{out}: the disk is full; what is there is whole: make room and run the same command again"
            ) from error
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
