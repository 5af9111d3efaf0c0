"""What the benchmark of strength keeps between runs."""

import importlib
from pathlib import Path

import pytest

from model.photos import Photo

pytestmark = pytest.mark.unit


@pytest.fixture
def strength(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
    return importlib.import_module("attack_strength")


def test_kept_curves_of_ours_are_of_this_code_and_those_of_peers_stay(strength, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(strength, "version", lambda _: "1.0")
    sources = tmp_path / "attack" / "decision"
    sources.mkdir(parents=True)
    (sources / "a.py").write_text("before")
    monkeypatch.setattr(strength, "ROOT", tmp_path)
    photo = Photo(tmp_path / "1.png", 1)
    contenders = ("auto", "foolbox Boundary", "ART HopSkipJump")
    kept = strength.Kept(tmp_path / "kept", "weights")
    for contender in contenders:
        kept.put(contender, photo, 500, [(1, 2.0)])

    def missing() -> list[str]:
        strength.code_of.cache_clear()
        again = strength.Kept(tmp_path / "kept", "weights")
        return [contender for contender in contenders if again.missing(contender, {photo: 500})]

    assert missing() == []
    (sources / "a.py").write_text("after")
    assert missing() == ["auto"]
    strength.code_of.cache_clear()


def test_photos_with_the_smallest_budget_come_first(strength, tmp_path: Path):
    photos = [Photo(tmp_path / f"{number}.png", 1) for number in range(3)]
    kept = strength.Kept(None, "weights")
    assert list(kept.missing("auto", dict(zip(photos, (5000, 500, 1000), strict=True))).values()) == [500, 1000, 5000]
