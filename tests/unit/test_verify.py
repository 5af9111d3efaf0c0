"""`trades-bob data verify`: each fault of a set is one line, and a sound set has none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import trades_bob
import train.verify
from model.errors import DataError
from tests.pictures import no_regular_files
from train.cache import open_cache
from train.official import SIDE
from train.official.manifest import Manifest
from train.verify import SHOWN, Verification, verify

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tiny_photos: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_photos, tmp_path / "set")


def lines(found: Verification) -> list[str]:
    return [finding.line() for finding in found.findings]


def test_a_sound_set(folder: Path) -> None:
    (folder / "README.md").write_text("read me")
    found = verify(folder)
    assert found.fit
    assert lines(found) == []
    assert [split.name for split in found.splits] == ["train", "val"]
    assert found.splits[0].counts == {"bicycle": 16, "bird": 16}
    assert list(found.lines())[-1] == f"fit  {folder}: 0 errors, 0 notes"
    assert verify(folder / "val").splits[0].sha256 == found.splits[1].sha256


def test_the_digest_is_the_caches_with_a_corrupt_photo_too(folder: Path) -> None:
    (folder / "train" / "bird" / "005.png").write_bytes(b"no picture")
    digest = open_cache(folder / "train", 32).digest
    found = verify(folder)
    assert found.splits[0].sha256 == digest
    assert found.splits[0].counts == {"bicycle": 16, "bird": 15}
    (line,) = lines(found)
    assert line.startswith("error: cannot be read: train/bird/005.png: ")


def test_names_that_are_not_utf_8_or_command_a_terminal_are_read_and_shown(folder, monkeypatch, capfd) -> None:
    strange = os.fsdecode(b"\xe4\x1b[2J.png")
    (folder / "train" / "bird" / "005.png").rename(folder / "train" / "bird" / strange)
    (folder / "val" / "bird" / strange).write_bytes(b"no picture")
    digests = [open_cache(folder / split, 32).digest for split in ("train", "val")]
    monkeypatch.setattr(sys, "argv", ["trades-bob", "data", "verify", str(folder)])
    with pytest.raises(SystemExit):
        trades_bob.main()
    shown = capfd.readouterr()
    assert [line.rpartition(" ")[2] for line in shown.out.splitlines()[:2]] == digests
    assert r"error: cannot be read: val/bird/\udce4\x1b[2J.png: the picture" in shown.out
    assert rf"left out: {folder}/val/bird/\udce4\x1b[2J.png: the picture" in shown.err
    assert "\x1b" not in shown.out + shown.err


def test_a_truncated_photo_is_found(folder: Path) -> None:
    path = folder / "val" / "bird" / "000.png"
    path.write_bytes(path.read_bytes()[:-300])
    assert lines(verify(folder)) == [
        "error: cannot be read: val/bird/000.png: the picture is no readable PNG, JPEG, WebP or BMP picture"
    ]


def test_a_file_of_holes_is_not_read(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A few bytes of an archive, and more than any memory holds."""
    (folder / "val" / "bird" / "holes.png").touch()
    os.truncate(folder / "val" / "bird" / "holes.png", 2**42)
    said = "the file has 4398046511104 bytes; at most 268435456 are read"
    assert lines(verify(folder)) == [f"error: cannot be read: val/bird/holes.png: {said}"]
    assert len(open_cache(folder / "val", 32)) == 16
    assert f"left out: {folder}/val/bird/holes.png: {said}" in capfd.readouterr().err


def test_what_is_no_regular_file_is_named_and_not_opened(folder: Path) -> None:
    """A pipe would be waited for."""
    said = no_regular_files(folder / "val" / "bird")
    found = verify(folder)
    assert lines(found) == [f"error: cannot be read: val/bird/{name}: {trouble}" for name, trouble in said.items()]
    assert found.splits[1].counts == {"bicycle": 8, "bird": 8}


@pytest.mark.parametrize("step", ["read_content", "read_picture", "to_square"])
def test_a_photo_that_memory_does_not_hold_is_named_and_the_others_are_read(step, folder, monkeypatch) -> None:
    """Whichever step of its decoding asks for too much."""
    work, calls = getattr(train.verify, step), []

    def too_much_for_the_second(*given: object) -> object:
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        return work(*given)

    monkeypatch.setattr(train.verify, step, too_much_for_the_second)
    monkeypatch.setattr(train.verify, "usable_cpus", lambda: 1)
    found = verify(folder / "val")
    assert lines(found) == ["error: cannot be read: bicycle/001.png: too little memory"]
    assert found.splits[0].counts == {"bicycle": 7, "bird": 8}


def test_duplicates_are_told_by_where_they_are(folder: Path) -> None:
    photo = Image.open(folder / "train" / "bird" / "000.png")
    photo.save(folder / "val" / "bird" / "leaked.bmp")  # the same pixels in another format
    for name in ("001.png", "002.png"):
        shutil.copy(folder / "train" / "bicycle" / name, folder / "train" / "bicycle" / f"again-{name}")
    shutil.copy(folder / "val" / "bird" / "003.png", folder / "val" / "bicycle" / "contradicts.png")
    found = verify(folder)
    assert sorted(lines(found)) == [
        "error: the same picture in both classes: val/bicycle/contradicts.png, val/bird/003.png",
        "error: the same picture in two splits: train/bird/000.png, val/bird/leaked.bmp",
        "note: the same picture twice: train/bicycle/001.png, train/bicycle/again-001.png",
        "note: the same picture twice: train/bicycle/002.png, train/bicycle/again-002.png",
    ]
    alone = verify(folder / "val")
    assert lines(alone) == ["error: the same picture in both classes: bicycle/contradicts.png, bird/003.png"]


def test_a_copy_is_the_kits_only_where_its_lists_hold_both_places(tmp_path: Path) -> None:
    """One photo is a bicycle of `extras` and a bird of `train`, as listed; `val`, with its labels swapped, is not."""
    ids = [f"{number:016x}" for number in range(4)]
    lists = {"train": {"bicycle": ids[:1], "bird": ids[1:2]}, "extras": {"bicycle": ids[1:3], "bird": ids[3:]}}
    manifest = Manifest(sources={}, splits=lists)
    manifest.save(tmp_path)
    for place in (*manifest.places("train"), *manifest.places("extras")):
        (tmp_path / place.file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIDE, SIDE), (ids.index(place.id) * 50, 0, 0)).save(tmp_path / place.file)
    both = f"the same picture in two splits: extras/bicycle/{ids[1]}.jpg, train/bird/{ids[1]}.jpg"
    assert lines(verify(tmp_path)) == [f"note: {both} (the kit's lists have it so)"]
    for name, other in (("bicycle", "bird"), ("bird", "bicycle")):
        shutil.copytree(tmp_path / "train" / name, tmp_path / "val" / other)
    assert lines(verify(tmp_path)) == [
        f"error: {both}, val/bicycle/{ids[1]}.jpg",
        f"error: the same picture in two splits: train/bicycle/{ids[0]}.jpg, val/bird/{ids[0]}.jpg",
    ]


def test_what_is_missing_or_beside_is_told(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "bird")
    (folder / "train" / "cat").mkdir()
    (folder / "val" / "bird" / "list.txt").write_text("")
    (folder / "test").mkdir()
    (folder / "originals").mkdir()
    assert lines(verify(folder)) == [
        "note: no photos: originals/ has neither bicycle/ nor bird/",
        "error: no photos: test/ has neither bicycle/ nor bird/",
        "error: a class is missing: train/bird/ has no picture",
        "note: not read: train/cat/ is no class",
        "note: not read: val/bird/ has 1 other files, list.txt first",
    ]


def test_many_findings_of_a_kind_are_counted(folder: Path) -> None:
    for number in range(SHOWN + 5):
        (folder / "val" / "bird" / f"bad-{number:02}.jpg").write_bytes(b"")
    told = list(verify(folder).lines())
    assert sum("cannot be read" in line for line in told) == SHOWN + 1
    assert "... and 5 more of: cannot be read (--json FILE has all)" in told
    assert len(verify(folder).as_json()["findings"]) == SHOWN + 5


def test_no_set_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        verify(tmp_path / "none")
    with pytest.raises(DataError, match="neither bicycle/ and bird/ in it"):
        verify(tmp_path)


def test_the_command_ends_with_1_for_an_unfit_set(folder: Path) -> None:
    (folder / "val" / "bird" / "bad.jpg").write_bytes(b"")
    command = [sys.executable, "-m", "trades_bob", "data", "verify", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"not fit  {folder}: 1 errors, 0 notes"
