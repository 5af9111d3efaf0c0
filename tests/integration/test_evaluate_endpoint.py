"""An evaluation over HTTP: labels alone, coverage from `abstain`, rows that need logits left out."""

import json

import numpy as np
import pytest

from attack.evaluation import run
from attack.evaluation.run import expected_s
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
    assert asked == report["queries"] + report["estimate_queries"], "every picture is told"
    assert 0 < report["estimate_queries"] < report["queries"] / 4
    assert report["queries"] == sum(row["queries"] for row in report["attacks"])


def test_answers_that_change_are_told(tiny_photos, tmp_path, capfd):
    def fickle(pixels: np.ndarray) -> list[str]:
        return colour_rule(pixels) if server.pictures < 700 else [ABSTAIN] * len(pixels)

    with serving(fickle, SIDE) as server:
        arguments = ["evaluate", "--endpoint", server.url, "--images", str(tiny_photos / "val"), "--limit", "2"]
        app([*arguments, "--attacks", "label-only", "--out", str(tmp_path)], standalone_mode=False)
    (row,) = json.loads((tmp_path / "report.json").read_text())["attacks"]
    assert row["repeats"] >= row["repeats_differing"] > 0
    told = f"{row['repeats_differing']} of {row['repeats']} repeated pictures were answered otherwise"
    assert told in capfd.readouterr().err
    assert told in (tmp_path / "index.html").read_text()


def test_an_endpoint_that_takes_fewer_pictures_than_it_says_has_the_same_table(tiny_photos, tmp_path):
    images = []
    for most in (64, 3):
        with serving(lambda pixels, most=most: 413 if len(pixels) > most else colour_rule(pixels), SIDE) as server:
            arguments = ["evaluate", "--endpoint", server.url, "--images", str(tiny_photos / "val"), "--limit", "2"]
            app([*arguments, "--attacks", "clean,corruptions", "--out", str(tmp_path)], standalone_mode=False)
        report = json.loads((tmp_path / "report.json").read_text())
        assert server.pictures == report["queries"] + report["estimate_queries"]
        images.append(report["images"])
    assert max(server.batches) <= 3
    assert images[0] == images[1]


def test_a_report_with_a_size_is_repeated_against_an_endpoint_of_its_own_size(tiny_photos, tmp_path):
    settings = {"kind": "bundle", "reference": "gone", "images": str(tiny_photos / "val"), "size": 64}
    earlier = {"version": 1, "settings": settings | {"attacks": ["clean"], "limit": 2}, "attacks": []}
    earlier |= {"photos": {"sha256": ""}, "model": {"sha256": ""}}
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    with serving(colour_rule, SIDE) as server:
        arguments = ["evaluate", "--from", str(tmp_path / "earlier.json"), "--endpoint", server.url]
        app([*arguments, "--out", str(tmp_path)], standalone_mode=False)
    assert json.loads((tmp_path / "report.json").read_text())["model"]["input_size"] == SIDE


@pytest.mark.parametrize("described", [False, True])
def test_rows_of_many_pictures_ask_side_by_side(described, tiny_photos, tmp_path):
    with serving(foreign_rule if described else colour_rule, SIDE, max_batch=4, delay_s=0.02) as server:
        (tmp_path / "there.toml").write_text(FOREIGN.format(url=server.url))
        endpoint = str(tmp_path / "there.toml") if described else server.url
        arguments = ["evaluate", "--endpoint", endpoint, "--images", str(tiny_photos / "val"), "--limit", "4"]
        app([*arguments, "--attacks", "corruptions", "--out", str(tmp_path)], standalone_mode=False)
    assert server.most_in_flight >= 2, "so many slots it begins with"


def test_the_time_is_estimated_as_the_rows_ask_side_by_side(tiny_photos, monkeypatch, tmp_path):
    """An answer takes 50 ms, however many are under way: one request after the other would take 15 s."""

    def noted(*given) -> float:
        estimates.append(expected_s(*given))
        return estimates[-1]

    estimates: list[float] = []
    monkeypatch.setattr(run, "expected_s", noted)
    with serving(colour_rule, SIDE, max_batch=4, delay_s=0.05) as server:
        arguments = ["evaluate", "--endpoint", server.url, "--images", str(tiny_photos / "val"), "--attacks"]
        app([*arguments, "clean,spatial-corners:16,spatial:1", "--out", str(tmp_path)], standalone_mode=False)
    alone_s = 0.05 * (16 + 27 * 16 + 775) / server.max_batch
    assert 0.1 * alone_s < sum(estimates) < 0.6 * alone_s


FOREIGN = """
url = "{url}/predict"
input_size = 32
[request]
format = "raw"
[labels]
bird = ["magpie"]
bicycle = ["tandem"]
"""


def test_names_that_are_not_listed_are_told_and_no_perfect_score(tiny_photos, tmp_path, capfd):
    """As where a TOML writes `magpie` and the endpoint answers `Magpie`."""
    with serving(lambda pixels: [name.title() for name in foreign_rule(pixels)], SIDE) as server:
        (tmp_path / "there.toml").write_text(FOREIGN.format(url=server.url))
        arguments = ["evaluate", "--endpoint", str(tmp_path / "there.toml"), "--images", str(tiny_photos / "val")]
        arguments += ["--attacks", "clean,corruptions,label-only:1", "--limit", "2"]
        app([*arguments, "--out", str(tmp_path / "a")], standalone_mode=False)
        out, err = capfd.readouterr()
        app([*arguments, "--out", str(tmp_path / "b"), "--beside", str(tmp_path / "a")], standalone_mode=False)
    assert err.count("which [labels] does not list") == 1
    assert "'Magpie'" in err or "'Tandem'" in err
    report = json.loads((tmp_path / "b" / "report.json").read_text())
    scores = [(row["covered_at_80"], row["accuracy_at_80"], row["accuracy_at_100"]) for row in report["attacks"]]
    assert scores == [(0, None, 0.0)] * 4
    assert out.count(f"{'-':>11} {'0.0':>12}") == 4
    page = (tmp_path / "b" / "index.html").read_text()
    assert page.count("<strong>–</strong>") == 4
    assert page.count("<td>–<small>0 of 0</small></td>") == 4  # the model beside it
    assert "<strong>100.0" not in page


def foreign_rule(pixels: np.ndarray) -> list[str]:
    """`colour_rule` in another endpoint's words."""
    words = {"bird": "magpie", "bicycle": "tandem", ABSTAIN: "neither"}
    return [words[label] for label in colour_rule(pixels)]


def test_an_endpoint_that_a_toml_describes_has_the_table_of_our_own(tiny_photos, tmp_path):
    rows = []
    for rule in (colour_rule, foreign_rule):
        out = tmp_path / rule.__name__
        with serving(rule, SIDE) as server:
            (tmp_path / "there.toml").write_text(FOREIGN.format(url=server.url))
            endpoint = server.url if rule is colour_rule else str(tmp_path / "there.toml")
            arguments = ["evaluate", "--endpoint", endpoint, "--images", str(tiny_photos / "val"), "--limit", "2"]
            app([*arguments, "--attacks", "clean,corruptions", "--out", str(out)], standalone_mode=False)
        report = json.loads((out / "report.json").read_text())
        assert report["settings"]["reference"] == endpoint
        rows.append(report["images"])
    assert rows[0] == rows[1]
