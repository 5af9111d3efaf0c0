"""What the demo does with a folder that is there already."""

from pathlib import Path

import pytest

from model.errors import DataError
from train import demo

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "kept", ["letters/a.txt", "pictures/train/bicycle/holiday.jpg", "bundle/thesis.tex", "index.html"]
)
def test_a_folder_that_is_not_marked_as_an_earlier_demo_is_left_alone(kept, tmp_path, monkeypatch):
    """Somebody's home holds `pictures` too."""
    monkeypatch.setattr(demo, "synthesize", lambda *_, **__: pytest.fail("nothing is drawn"))
    (tmp_path / kept).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / kept).write_text("dear")
    with pytest.raises(DataError, match="not of an earlier demo; choose another --out"):
        demo.demo(tmp_path)
    assert (tmp_path / kept).read_text() == "dear"


def test_a_file_is_no_folder_to_replace(tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(DataError, match="letter: not of an earlier demo"):
        demo.demo(tmp_path / "letter")


@pytest.mark.parametrize("exists", [False, True])
def test_an_earlier_demo_is_replaced(exists, tmp_path, monkeypatch):
    """Also one that was ended while it drew; an empty folder is taken."""

    def drawn(out: Path, *_: object, **__: object) -> None:
        out.mkdir(parents=True)
        raise InterruptedError

    monkeypatch.setattr(demo, "synthesize", drawn)
    if exists:
        (tmp_path / "out").mkdir()
    for _ in range(2):
        with pytest.raises(InterruptedError):
            demo.demo(tmp_path / "out")
