"""The layers of `pyproject.toml` hold the imports: one that goes upwards is found."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
PACKAGES = ("model", "attack", "train", "server")


def linted(tree):
    """What import-linter says of a tree."""
    lint = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(lint, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False)
    return done.stdout


def broken_layers(tree):
    return [line.strip() for line in linted(tree).splitlines() if "not allowed to import" in line]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The packages' modules alone, to be spoilt."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        there = copy / file.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
    return copy


@pytest.mark.parametrize(
    ("module", "upwards"),
    [
        ("attack/decision/maps.py", "attack.evaluation.scoring"),
        ("attack/gradient/pgd.py", "attack.decision.problem"),
        ("attack/transforms/grid.py", "attack.decision.problem"),
        ("attack/transforms/pixels.py", "attack.evaluation.session"),
        ("train/release.py", "attack.evaluation.variants"),
    ],
)
def test_no_layer_knows_those_above_it(module, upwards, tree):
    file = tree / module
    whole = file.read_text()
    file.write_text(f"{whole}\nimport {upwards}\n")
    try:
        above = ".".join(upwards.split(".")[:2])
        below = "train" if module.startswith("train/") else ".".join(module.split("/")[:2])
        assert f"{below} is not allowed to import {above}:" in broken_layers(tree)
    finally:
        file.write_text(whole)
    assert broken_layers(tree) == []


def test_a_module_that_no_layer_lists_is_found(tree):
    new = tree / "attack" / "somewhere.py"
    new.write_text('"""Nobody would look here."""\n')
    try:
        assert "attack.somewhere" in linted(tree)
    finally:
        new.unlink()
