"""An attack over HTTP against a toy endpoint: results, PNGs, page; killed and resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attack.campaign import Campaign, Settings
from attack.oracle import RemoteOracle
from attack.results import measured
from attack.wire.client import Client
from model.labels import CLASSES
from model.pixels import load_square
from tests.toy_endpoint import brightness_rule, serving

SIDE = 32
pytestmark = pytest.mark.integration


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Dark bicycles and bright birds, noisy enough to differ."""
    rng = np.random.default_rng(0)
    for label, level in zip(CLASSES, (90, 165), strict=True):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(3):
            pixels = rng.normal(level, 30, (40, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    return tmp_path / "images"


def attacked(url: str, pictures: Path, out: Path, **settings) -> dict:
    with Client(url) as client:
        return Campaign(RemoteOracle(client), pictures, Settings(**settings), out).run(url)


def test_every_png_is_answered_wrongly_and_measures_what_the_results_say(pictures, tmp_path):
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=300, spatial="none")
        written = json.loads((tmp_path / "out" / "results.json").read_text())
        assert written == results
        assert results["summary"]["adversarial"] == 6
        with Client(server.url) as client:
            for image in results["images"]:
                adversarial = load_square(tmp_path / "out" / image["file"], SIDE)
                answer = client.predict(tmp_path / "out" / image["file"])
                assert answer != image["label"]
                original = load_square(pictures / image["image"], SIDE)
                assert measured(original, adversarial) == (image["l2"], image["linf"])
    assert (tmp_path / "out" / "index.html").read_text().count("data:image/png") == 18


def test_the_count_of_queries_is_the_endpoints(pictures, tmp_path):
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=200, spatial="none")
        reposted = results["summary"]["adversarial"]
        assert results["summary"]["queries"] + reposted == server.pictures
    assert all(image["queries"] <= 200 for image in results["images"])
