"""What the demo does with a folder that is there already."""

import pytest

from model.errors import DataError
from train import demo

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("kept", ["letters/a.txt", "pictures/holiday.jpg", "pictures/2019/a.jpg"])
def test_a_folder_with_anything_but_an_earlier_demo_is_left_alone(kept, tmp_path, monkeypatch):
    """Somebody's home holds `pictures` too, and `demo --out ~` deleted it all."""
    monkeypatch.setattr(demo, "synthesize", lambda *_, **__: pytest.fail("nothing is drawn"))
    for name in ("pictures/train/bird/0.png", kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("dear")
    with pytest.raises(DataError, match="not of an earlier demo; choose another --out"):
        demo.demo(tmp_path)
    assert (tmp_path / kept).read_text() == "dear"


def test_a_file_is_no_folder_to_replace(tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(DataError, match="letter: not of an earlier demo"):
        demo.demo(tmp_path / "letter")


def test_an_earlier_demo_is_replaced(tmp_path, monkeypatch):
    """Also one that was ended while it drew."""

    def drawn(*_: object, **__: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(demo, "synthesize", drawn)
    for name in (*demo.MADE, *(f"pictures/{split}" for split in demo.PER_CLASS), "pictures/val.partial/bird"):
        (tmp_path / "out" / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(InterruptedError):
        demo.demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()
