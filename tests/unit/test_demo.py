"""What the demo does with a folder that is there already."""

from pathlib import Path

import pytest

from model.errors import DataError
from train import demo

pytestmark = pytest.mark.unit


KEPT = ["letters/a.txt", "pictures/holiday.jpg", "pictures/2019/a.jpg"]
AS_OF_A_DEMO = ["pictures/train/bicycle/holiday.jpg", "bundle/thesis.tex"]


@pytest.mark.parametrize(("kept", "marked"), [(kept, mark) for kept in KEPT for mark in (True, False)])
def test_a_folder_with_anything_but_an_earlier_demo_is_left_alone(kept, marked, tmp_path, monkeypatch):
    """Somebody's home holds `pictures` too, and `demo --out ~` deleted it all."""
    monkeypatch.setattr(demo, "synthesize", lambda *_, **__: pytest.fail("nothing is drawn"))
    for name in ("pictures/train/bird/0.png", kept, *([demo.MARKER_FILE] if marked else [])):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("dear")
    with pytest.raises(DataError, match="not of an earlier demo; choose another --out"):
        demo.demo(tmp_path)
    assert (tmp_path / kept).read_text() == "dear"


@pytest.mark.parametrize("kept", AS_OF_A_DEMO)
def test_a_folder_that_only_looks_like_a_demos_is_left_alone(kept, tmp_path, monkeypatch):
    """Names tell nothing: a folder of photos with splits is called as a demo's pictures are."""
    monkeypatch.setattr(demo, "synthesize", lambda *_, **__: pytest.fail("nothing is drawn"))
    (tmp_path / kept).parent.mkdir(parents=True)
    (tmp_path / kept).write_text("dear")
    with pytest.raises(DataError, match="not of an earlier demo; choose another --out"):
        demo.demo(tmp_path)
    assert (tmp_path / kept).read_text() == "dear"


def test_a_file_is_no_folder_to_replace(tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(DataError, match="letter: not of an earlier demo"):
        demo.demo(tmp_path / "letter")


def test_a_name_that_the_disk_refuses_is_a_users_mistake(tmp_path):
    with pytest.raises(DataError, match="File name too long; choose another --out"):
        demo.demo(tmp_path / ("n" * 300))


def test_an_earlier_demo_is_replaced(tmp_path, monkeypatch):
    """Also one that was ended while it drew; a link in it is removed, not what it leads to."""

    def drawn(out: Path, *_: object, **__: object) -> None:
        (out.with_name("val.partial") / "bird").mkdir(parents=True)
        raise InterruptedError

    monkeypatch.setattr(demo, "synthesize", drawn)
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    for folder in (out, elsewhere):
        folder.mkdir()
    for _ in range(2):
        with pytest.raises(InterruptedError):
            demo.demo(out)
        assert sorted(path.name for path in out.iterdir()) == [demo.MARKER_FILE, "pictures"]
        for name in demo.MADE[1:-1]:
            (out / name).mkdir()
        (out / demo.MADE[-1]).symlink_to(elsewhere)
    assert elsewhere.is_dir()
