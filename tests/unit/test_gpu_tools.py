"""What travels to a GPU machine and back: packed photos, pieces with hashes, and which wheels."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.errors import DataError
from model.photos import find_photos
from model.pixels import load_square
from tools.gpu.pack import pack, unpack
from tools.gpu.pieces import cut, join
from tools.gpu.wheels import MISSING, pinned_versions

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def test_pieces_come_together_again(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(bytes(range(256)) * 10)
    pieces = cut(file, tmp_path / "pieces", piece_bytes=1000)
    assert [path.stat().st_size for path in pieces] == [1000, 1000, 560]
    assert join(tmp_path / "pieces" / "weights.json", tmp_path / "back").read_bytes() == file.read_bytes()
    file.write_bytes(b"less")  # a later state takes the place of an earlier one, and leaves no piece of it
    cut(file, tmp_path / "pieces", piece_bytes=1000)
    assert sorted(path.name for path in (tmp_path / "pieces").iterdir()) == ["weights.000", "weights.json"]
    assert join(tmp_path / "pieces" / "weights.json", tmp_path / "back").read_bytes() == b"less"


def test_an_empty_file_is_a_piece_too(tmp_path):
    (tmp_path / "empty").touch()
    cut(tmp_path / "empty", tmp_path / "pieces")
    assert join(tmp_path / "pieces" / "empty.json", tmp_path / "back").read_bytes() == b""


def test_a_piece_that_is_missing_or_broken_is_named(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"x" * 20)
    cut(file, tmp_path, piece_bytes=8)
    (tmp_path / "weights.001").write_bytes(b"y" * 8)
    with pytest.raises(ValueError, match=r"weights\.001: its SHA-256"):
        join(tmp_path / "weights.json", tmp_path / "back")
    (tmp_path / "weights.001").unlink()
    with pytest.raises(ValueError, match=r"weights\.001: this piece is missing"):
        join(tmp_path / "weights.json", tmp_path / "back")
    index = json.loads((tmp_path / "weights.json").read_text())
    del index["pieces"][1]  # pieces of two cuts: each is whole
    (tmp_path / "weights.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="the file is not"):
        join(tmp_path / "weights.json", tmp_path / "back")


def test_packed_photos_unpack_to_the_same_folders(tiny_photos, tmp_path):
    assert pack(tiny_photos, tmp_path / "photos.npz", side=32, quality=90) == {"train": 32, "val": 16}
    assert unpack(tmp_path / "photos.npz", tmp_path / "back") == {"train": 32, "val": 16}
    for split in ("train", "val"):
        before, after = find_photos(tiny_photos / split), find_photos(tmp_path / "back" / split)
        assert [Path(p.name).stem for p in after] == [Path(p.name).stem for p in before]
        assert [p.label for p in after] == [p.label for p in before]
    old = load_square(tiny_photos / "train/bird/003.png", 32)
    new = load_square(tmp_path / "back/train/bird/003.webp", 32)
    assert new.shape == old.shape
    assert np.abs(new.astype(int).mean((0, 1)) - old.mean((0, 1))).max() < 8  # the colours that tell the classes apart


def test_a_limited_pack_is_balanced_and_names_what_it_leaves_out(tmp_path, capfd):
    for name in ("bicycle", "bird"):
        (tmp_path / "val" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (20, 20)).save(tmp_path / "val" / name / f"{number}.png")
    assert pack(tmp_path, tmp_path / "photos.npz", side=16, limit=4) == {"val": 4}
    (tmp_path / "val" / "bird" / "1.png").write_bytes(b"no picture")
    assert pack(tmp_path, tmp_path / "photos.npz", side=16) == {"val": 5}
    assert "left out" in capfd.readouterr().err


def test_a_pack_that_did_not_arrive_whole_is_refused(tiny_photos, tmp_path):
    file = tmp_path / "photos.npz"
    pack(tiny_photos, file, side=16)
    content = bytearray(file.read_bytes())
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="no pack of photos"):
        unpack(file, tmp_path / "back")
    with np.load(io.BytesIO(content)) as whole:
        arrays = dict(whole)
    arrays["data"][100] ^= 1
    np.savez(file, **arrays)
    with pytest.raises(DataError, match="not those that were packed"):
        unpack(file, tmp_path / "back")
    with pytest.raises(DataError, match="none of"):
        pack(tmp_path / "nowhere", file)


def test_every_wheel_has_a_tested_version():
    versions = pinned_versions(ROOT / "constraints.txt")
    assert set(map(str.lower, MISSING)) <= set(versions)
    assert not {"torch", "torchvision", "numpy"} & set(MISSING), "the machine's own"
