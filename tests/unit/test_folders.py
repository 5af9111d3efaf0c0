"""What commands refuse of the folders that they are to write or to read, before they do any work."""

from pathlib import Path

import pytest

from model.errors import BundleError, DataError
from model.files import replace_file
from model.photos import find_photos
from train.cache import open_cache
from train.folder import held_folder
from train.ranks import Ranks
from train.release import release
from train.verify import verify
from train.watch import MetricsLog, draw_curves, read_metrics

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("held", ["checkpoint.pt", ".lock"])
def test_a_release_is_not_written_into_a_run(held, tmp_path):
    """Its best weights would be lost, and with them the way back."""
    (tmp_path / held).write_bytes(b"of a run")
    with pytest.raises(DataError, match=r"holds a training run.* choose another --out"):
        release(tmp_path / "none", [], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [held]


@pytest.mark.parametrize("source", ["bundle", "other"])
def test_a_release_is_not_written_over_what_it_is_made_of(source, tmp_path):
    """Whatever way the folder is named."""
    (tmp_path / source).mkdir()
    (tmp_path / "link").symlink_to(source)
    for out in (tmp_path / source, tmp_path / "link", tmp_path / "link" / ".." / source):
        with pytest.raises(DataError, match=f"{out}: its weights go into the release.* choose another --out"):
            release(tmp_path / "bundle", [], out, average_with=[tmp_path / "other"])


def test_a_release_replaces_an_earlier_one(tmp_path):
    """It gets as far as the run's bundle, which is missing here."""
    for name in ("bundle.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"of a release")
    with pytest.raises(BundleError, match=r"none/bundle.json: no such file"):
        release(tmp_path / "none", [], tmp_path)


@pytest.mark.parametrize("name", ["readonly", "n" * 300])
def test_a_folder_that_cannot_be_written_to_is_the_users_to_mend(name, tmp_path):
    """A folder in the lock's place, since root may write everywhere."""
    (tmp_path / "readonly" / ".lock").mkdir(parents=True)
    with pytest.raises(DataError, match="; choose another --out"), held_folder(tmp_path / name, Ranks(), resume=False):
        pytest.fail("it is not to be had")


def test_what_a_killed_run_had_half_written_goes_and_all_else_stays(tmp_path, monkeypatch):
    """The names are those that `replace_file` gives."""
    for name in ("checkpoint.pt", "bundle.json", "model.safetensors", "metrics.jsonl", "curves.png"):
        with monkeypatch.context() as killed:
            killed.setattr(Path, "chmod", _ended)
            killed.setattr(Path, "unlink", lambda *_, **__: None)
            with pytest.raises(KeyboardInterrupt):
                replace_file(tmp_path / name, b"half")
    for name in (".mine", "bundle.json.old"):
        (tmp_path / name).touch()
    assert len(list(tmp_path.iterdir())) == 7
    with held_folder(tmp_path, Ranks(), resume=False):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".mine", "bundle.json.old"]


def test_curves_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", _ended)
    with pytest.raises(KeyboardInterrupt):
        draw_curves(tmp_path)
    assert not list(tmp_path.iterdir())


def _ended(*_: object) -> None:
    raise KeyboardInterrupt


def _denied(folder: Path) -> None:
    raise PermissionError(13, "Permission denied", str(folder))


@pytest.mark.parametrize("look", [find_photos, verify])
def test_photos_that_cannot_be_listed_are_the_users_to_mend(look, tiny_photos, monkeypatch):
    """Root may read everything, so the refusal is made up."""
    monkeypatch.setattr(Path, "iterdir", _denied)
    with pytest.raises(DataError, match=r"/bicycle: Permission denied; name a folder of photos that can be read"):
        look(tiny_photos / "val")


@pytest.mark.parametrize("look", [find_photos, verify])
def test_a_name_that_no_folder_can_have_is_the_users_to_mend(look, tmp_path):
    with pytest.raises(DataError, match="File name too long; name a folder of photos"):
        look(tmp_path / ("n" * 300))


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, garbage}',
        b'{"a": 1}',
        b"\xff",
        b"3",
        b'{"step": "x", "epoch": 1}',
        b'{"step": 1, "epoch": null}',
        b'{"step": 1, "epoch": 1, "loss": "a"}',
        b'{"step": true, "epoch": 1}',
        b"[" * 10_000,
    ],
    ids=range(9),
)
def test_a_line_that_a_disk_has_spoilt_keeps_no_run_from_going_on(line, tmp_path):
    """The last one was cut off by a kill."""
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1, "epoch": 0.1, "loss": 2}\n' + line + b'\n{"step"')
    MetricsLog(tmp_path, done_steps=1)
    draw_curves(tmp_path)
    assert read_metrics(tmp_path) == [{"step": 1, "epoch": 0.1, "loss": 2}]


def test_a_cache_that_cannot_be_a_folder_is_the_users_to_mend(tiny_photos, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRADES_BOB_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=f"^{tmp_path}/file: cannot write .*; set TRADES_BOB_CACHE to another"):
        open_cache(tiny_photos / "val", 32)
