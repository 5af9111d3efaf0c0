"""The photo cache follows its folder: links, photos that are broken, and those that cannot be read just now."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from model.errors import ImageError
from model.pixels import read_content
from tests.pictures import no_regular_files
from train.cache import open_cache
from train.synthetic.writer import synthesize
from train.verify import verify

pytestmark = pytest.mark.unit


@pytest.fixture
def links(tiny_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of links to photos that lie elsewhere, not decoded yet."""
    monkeypatch.setenv("TRADES_BOB_CACHE", str(tmp_path / "cache"))
    for photo in sorted((tiny_photos / "train").glob("*/*.png")):
        link = tmp_path / "links" / photo.parent.name / photo.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photo)
    return tmp_path / "links"


@pytest.mark.parametrize("move", [("bicycle/015.png", "bird/-.png"), ("bird/003.png", "bird/003-again.png")])
def test_a_link_that_is_renamed_or_put_into_another_class_is_noticed(links, move):
    """Both moves leave the files that the links lead to as they were, and in the same order."""
    before = open_cache(links, 32)
    old, new = move
    (links / old).rename(links / new)
    after = open_cache(links, 32)
    assert new in after.names
    assert old not in after.names
    assert after.labels[after.names.index(new)] == 1
    assert int(after.labels.sum()) - int(before.labels.sum()) == (old.startswith("bicycle"))
    assert after.digest == verify(links).splits[0].sha256 != before.digest


def test_a_broken_photo_is_named_at_each_opening_and_decoded_once(links, capfd, monkeypatch):
    (links / "bird" / "005.png").unlink()
    (links / "bird" / "005.png").write_bytes(b"no picture")
    for _ in range(2):
        assert len(open_cache(links, 32)) == 31
        said = capfd.readouterr().err
        assert said.count(f"left out: {links}/bird/005.png: the picture is no readable PNG") == 1
        monkeypatch.setattr("train.cache.load_square", None)


def test_what_is_no_regular_file_is_left_out_and_named_until_it_is_one(links, capfd, monkeypatch):
    said = no_regular_files(links / "bird")
    with monkeypatch.context() as patch:
        for _ in range(2):
            assert len(open_cache(links, 32)) == 32
            told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("left out")]
            assert told == [f"left out: {links}/bird/{name}: {trouble}" for name, trouble in said.items()]
            patch.setattr("train.cache.load_square", None)  # the second opening decodes nothing
    (links / "bird" / "nowhere.jpg").write_bytes((links / "bird" / "000.png").read_bytes())
    assert "bird/x-gone.jpg" in open_cache(links, 32).names


def out_of_memory() -> None:
    """As a decoder's is passed on."""
    raise ImageError("the picture is no readable PNG, JPEG, WebP or BMP picture") from MemoryError()


def refused() -> None:
    raise PermissionError(13, "Permission denied", "somewhere")


def too_large() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("fail", "said"),
    [(refused, "Permission denied"), (too_large, "too little memory"), (out_of_memory, "the picture is no readable")],
)
def test_a_photo_that_cannot_be_read_just_now_is_there_when_it_can(fail, said, links, capfd, monkeypatch):
    with monkeypatch.context() as patch:
        real = read_content
        patch.setattr("train.cache.read_content", lambda path: fail() if "003" in path.name else real(path))
        today = open_cache(links, 32)
        assert len(today) == 30
        assert f"left out: {links}/bird/003.png: {said}" in capfd.readouterr().err
        pixels = today.take(torch.arange(30))
    tomorrow = open_cache(links, 32)
    assert len(tomorrow) == 32
    assert "left out" not in capfd.readouterr().err
    assert torch.equal(today.take(torch.arange(30)), pixels), "a run that goes on meanwhile keeps its rows"


@pytest.mark.parametrize(
    ("module", "executor", "work"),
    [
        ("train.cache", "ThreadPoolExecutor", lambda folder: open_cache(folder, 32)),
        ("train.verify", "ThreadPoolExecutor", verify),
        ("train.synthetic.writer", "ProcessPoolExecutor", lambda folder: synthesize(folder / "new", 2, 32)),
    ],
)
def test_as_many_workers_as_cpus_may_be_used_not_as_the_machine_has(module, executor, work, links, monkeypatch):
    """A container with a quota of two CPUs on a large machine would otherwise decode 64 large pictures at once."""
    asked = []

    def pool(workers: int, *_: object) -> ThreadPoolExecutor:
        asked.append(workers)
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(f"{module}.usable_cpus", lambda: 3)
    monkeypatch.setattr(f"{module}.{executor}", pool)
    work(links)
    assert asked == [3]
