"""`trades-bob data verify`: are these folders of photos fit to train and to measure on?"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from model.console import progress
from model.cpus import usable_cpus
from model.errors import DataError, ImageError
from model.labels import CLASSES
from model.photos import SUFFIXES, Photo, looking_through, pictures_in, trouble_with
from model.pixels import pixels_sha256, read_content, read_picture, to_square
from train.digest import DataDigest
from train.official import SIDE
from train.official.manifest import Manifest, read_manifest

SPLIT_NAMES: Final = ("train", "val", "test", "extras")
"""Folders of these names are expected to hold photos."""
SHOWN: Final = 20
"""Findings of one kind that are told one by one."""


class Finding(NamedTuple):
    """One line. An error makes a set unfit; a note is worth knowing."""

    level: Literal["error", "note"]
    kind: str
    text: str

    def line(self) -> str:
        """`error: the same picture in two splits: train/bird/a.jpg, test/bird/b.jpg`."""
        return f"{self.level}: {self.kind}: {self.text}"


class Look(NamedTuple):
    """What one photo is."""

    file: str
    """Relative to the folder that is verified."""
    photo: Photo
    content_sha256: str
    pixels_sha256: str
    """Of the decoded picture, so that a copy in another format is found too."""
    size: tuple[int, int]
    trouble: str
    """Why it cannot be read; empty when it can."""


@dataclass
class Split:
    """A folder with `bicycle/` and `bird/`."""

    name: str
    counts: dict[str, int]
    sha256: str
    """The digest that a bundle records for the data it was trained on."""

    def line(self) -> str:
        """`train: 3488 bicycle, 8515 bird, sha256 ...`."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{self.name}: {counts}, sha256 {self.sha256}"


@dataclass
class Verification:
    """What was found in a folder."""

    folder: str
    splits: list[Split] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def fit(self) -> bool:
        """No finding is an error."""
        return all(finding.level != "error" for finding in self.findings)

    def lines(self) -> Iterator[str]:
        """A line a split, a line a finding (of each kind the first 20), and the verdict."""
        yield from (split.line() for split in self.splits)
        told: Counter[str] = Counter()
        for finding in self.findings:
            told[finding.kind] += 1
            if told[finding.kind] <= SHOWN:
                yield finding.line()
        for kind, count in told.items():
            if count > SHOWN:
                yield f"... and {count - SHOWN} more of: {kind} (--json FILE has all)"
        errors = sum(finding.level == "error" for finding in self.findings)
        verdict = "fit" if self.fit else "not fit"
        yield f"{verdict}  {self.folder}: {errors} errors, {len(self.findings) - errors} notes"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "folder": self.folder,
            "fit": self.fit,
            "splits": [asdict(split) for split in self.splits],
            "findings": [finding._asdict() for finding in self.findings],
        }


def verify(folder: Path) -> Verification:
    """Look at each photo of a folder of splits, or of one folder with `bicycle/` and `bird/`.

    Raises DataError when there is nothing of the kind, or a folder cannot be read.
    """
    names, asides = _split_names(folder)
    result = Verification(str(folder), findings=asides)
    manifest = read_manifest(folder)
    looks: list[Look] = []
    for name in names:
        seen = _look_at(folder, name)
        result.splits.append(_summary(name, seen))
        with looking_through():
            result.findings += [*_layout(folder, name), *_unreadable(seen)]
        if manifest is not None and name in manifest.splits:
            result.findings += [*_against(manifest, name, seen), *_wrong_size(seen)]
        looks += seen
    result.findings += _duplicates(looks, manifest)
    return result


@looking_through()
def _split_names(folder: Path) -> tuple[list[str], list[Finding]]:
    """The splits of a folder ("." for itself), and what lies beside them."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    if any((folder / name).is_dir() for name in CLASSES):
        return ["."], []
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    splits = [name for name in inner if any((folder / name / label).is_dir() for label in CLASSES)]
    if not splits:
        raise DataError(f"{folder}: neither bicycle/ and bird/ in it, nor folders that hold them")
    others = [name for name in inner if name not in splits]
    return splits, [
        Finding("error" if name in SPLIT_NAMES else "note", "no photos", f"{name}/ has neither bicycle/ nor bird/")
        for name in others
    ]


def _look_at(folder: Path, name: str) -> list[Look]:
    photos = [Photo(file, label) for label in range(len(CLASSES)) for file in _files(folder / name / CLASSES[label])]
    looks = []
    with ThreadPoolExecutor(usable_cpus()) as pool, progress(f"reading {name}", len(photos)) as report:
        for look in pool.map(lambda photo: _look(folder, photo), photos):
            looks.append(look)
            report(len(looks))
    return looks


@looking_through()
def _files(directory: Path) -> list[Path]:
    """In the order of `find_photos`, on which the digest depends; [] where the class is missing."""
    return pictures_in(directory) if directory.is_dir() else []


def _look(folder: Path, photo: Photo) -> Look:
    file = photo.path.relative_to(folder).as_posix()
    try:
        if trouble := trouble_with(photo.path):
            return Look(file, photo, "", "", (0, 0), trouble)
        content = read_content(photo.path)
        picture = read_picture(content)
        square = to_square(picture, SIDE)  # refuses what the cache refuses
        hashes = hashlib.sha256(content).hexdigest(), pixels_sha256(square)
    except (ImageError, OSError, MemoryError) as error:  # the last may say nothing
        return Look(file, photo, "", "", (0, 0), str(error) or "too little memory")
    return Look(file, photo, *hashes, picture.size, "")


def _summary(name: str, looks: Sequence[Look]) -> Split:
    digest = DataDigest()
    readable = [look for look in looks if not look.trouble]
    for look in readable:
        digest.add(look.photo.name, look.content_sha256)
    counts = Counter(look.photo.label for look in readable)
    return Split(name, {label: counts[index] for index, label in enumerate(CLASSES)}, digest.hexdigest())


def _layout(folder: Path, split: str) -> Iterator[Finding]:
    for name in CLASSES:
        if not _files(folder / split / name):
            yield Finding("error", "a class is missing", f"{split}/{name}/ has no picture")
    for path in sorted((folder / split).iterdir()):
        if path.is_dir() and path.name not in CLASSES and not path.name.startswith("."):
            yield Finding("note", "not read", f"{split}/{path.name}/ is no class")
    for name in CLASSES:
        inside = (folder / split / name).iterdir() if (folder / split / name).is_dir() else ()
        others = [path.name for path in inside if path.suffix.lower() not in SUFFIXES and path.name[0] != "."]
        if others:
            yield Finding("note", "not read", f"{split}/{name}/ has {len(others)} other files, {min(others)} first")


def _unreadable(looks: Sequence[Look]) -> Iterator[Finding]:
    return (Finding("error", "cannot be read", f"{look.file}: {look.trouble}") for look in looks if look.trouble)


def _wrong_size(looks: Sequence[Look]) -> Iterator[Finding]:
    for look in looks:
        if not look.trouble and look.size != (SIDE, SIDE):
            yield Finding("error", "wrong size", f"{look.file}: {look.size[0]} x {look.size[1]}, not {SIDE} x {SIDE}")


def _against(manifest: Manifest, split: str, looks: Sequence[Look]) -> Iterator[Finding]:
    """The photos of an official split against its list."""
    for label, name in enumerate(CLASSES):
        expected = {f"{split}/{name}/{file}" for file in manifest.expected(split, name)}
        found = {look.file for look in looks if look.photo.label == label}
        lost = sorted(expected - found - manifest.missing.keys())
        gone = Counter(manifest.missing[file].partition(":")[0] for file in expected - found if file not in lost)
        if lost:
            yield Finding("error", "missing", f"{len(lost)} of {split}/{name}, {lost[0]} first: download again")
        if gone:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(gone.items()))
            yield Finding("note", "could not be had", f"{reasons}, of {len(expected)} of {split}/{name}")
        if strange := sorted(found - expected):
            yield Finding("error", "not of this split", f"{len(strange)} in {split}/{name}, {strange[0]} first")


def _duplicates(looks: Sequence[Look], manifest: Manifest | None) -> Iterator[Finding]:
    """Pictures that are there more than once, pixel for pixel."""
    listed = {place.file for split in manifest.splits for place in manifest.places(split)} if manifest else set()
    copies: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        if not look.trouble:
            copies[look.pixels_sha256].append(look)
    for same in copies.values():
        if len(same) > 1:
            kind = _kind_of(same)
            told = ", ".join(look.file for look in same)
            if kind.endswith("twice"):
                yield Finding("note", kind, told)
            elif {look.file for look in same} <= listed and len({look.photo.path.name for look in same}) == 1:
                yield Finding("note", kind, f"{told} (the kit's lists have it so)")
            else:
                yield Finding("error", kind, told)


def _kind_of(same: Sequence[Look]) -> str:
    if len({look.file.rsplit("/", 2)[0] for look in same}) > 1 and same[0].file.count("/") > 1:
        return "the same picture in two splits"
    if len({look.photo.label for look in same}) > 1:
        return "the same picture in both classes"
    return "the same picture twice"
