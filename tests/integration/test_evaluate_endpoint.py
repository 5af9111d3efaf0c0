"""An evaluation over HTTP: labels alone, coverage from `abstain`, rows that need logits left out."""

import json

import numpy as np
import pytest

from model.labels import ABSTAIN, CLASSES
from tests.toy_endpoint import serving
from trades_bob import app

SIDE = 32
pytestmark = pytest.mark.integration


def colour_rule(pixels: np.ndarray) -> list[str]:
    """Bird where there is more red than blue; abstains where the two are close."""
    means = pixels.mean(axis=(1, 2))
    difference = means[:, 0] - means[:, 2]
    return [ABSTAIN if abs(value) < 8 else CLASSES[int(value > 0)] for value in difference]


def test_the_warm_up_over_an_endpoint(tiny_photos, tmp_path, capsys):
    with serving(colour_rule, SIDE) as server:
        arguments = ["evaluate", "--endpoint", server.url, "--images", str(tiny_photos / "val"), "--limit", "4"]
        arguments += ["--attacks", "clean,corruptions,spsa,pgd,label-only", "--out", str(tmp_path)]
        app(arguments, standalone_mode=False)
        asked = server.pictures
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in report["attacks"]] == ["clean", "corruptions", "label-only", "worst"]
    assert [row["name"] for row in report["left_out"]] == ["spsa", "pgd"]
    assert {row["coverage_by"] for row in report["attacks"]} == {"abstain"}
    clean = report["attacks"][0]
    assert (clean["covered_at_80"], clean["errors_at_80"]) == (4, 0)
    assert "left out: needs logits, which an endpoint does not give" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text()
    assert "Labels alone come from an endpoint" in page
    assert "left out" in page
    measured_first = asked - report["queries"]
    assert measured_first > 0  # the rate was measured; those pictures are in no row
    assert report["queries"] == sum(row["queries"] for row in report["attacks"])
