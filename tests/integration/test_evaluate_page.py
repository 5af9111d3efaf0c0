"""The evaluation's page in a real browser: something is drawn, nothing sticks out of a phone's screen, it prints."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attack.campaign import Campaign
from attack.evaluation.report import EvaluationSettings
from attack.evaluation.run import evaluate
from attack.oracle import RemoteOracle
from attack.settings import Settings
from attack.wire.client import Client
from tests.toy_endpoint import brightness_rule, serving

pytestmark = [pytest.mark.browser, pytest.mark.integration]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DEFENCE = """
import numpy as np
def logits(x):
    return np.stack([x[..., 2].mean((1, 2)), 0.43 + 0.5 * x[..., 0].mean((1, 2))], axis=1)
"""
FRAME = """<!doctype html><title>waiting</title><style>body {{ margin: 0 }}</style>
<iframe srcdoc="{page}" style="width:{width}px;height:1500px;border:0"></iframe>
<script>
onload = () => {{
  const inside = document.querySelector("iframe").contentDocument, page = inside.documentElement;
  const pictures = [...inside.images], words = [...inside.querySelectorAll("p, td, th, small, figcaption, dd, code")];
  const broken = pictures.filter(image => !(image.complete && image.naturalWidth)).length;
  const size = word => parseFloat(inside.defaultView.getComputedStyle(word).fontSize);
  const scale = word => word.ownerSVGElement.getScreenCTM().a;
  const drawn = [...inside.querySelectorAll("svg text")].map(word => size(word) * scale(word));
  const smallest = Math.min(...words.map(size), ...drawn), largest = Math.max(0, ...drawn);
  document.title = [page.scrollWidth, page.clientWidth, pictures.length, broken, smallest, largest].join(" ");
}};
</script>"""


@pytest.fixture(scope="module")
def page(tiny_photos, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium found: install the package chromium")
    folder = tmp_path_factory.mktemp("page")
    (folder / "blue_defence.py").write_text(DEFENCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr("attack.evaluation.run.MEASURE_S", 0.02)
        settings = EvaluationSettings(
            kind="callable",
            reference="blue_defence:logits",
            images=str(tiny_photos / "val"),
            attacks=("clean", "corruptions", "spatial", "spatial-corners", "label-only"),
            limit=4,
            size=32,
        )
        evaluate(settings, folder / "out")
    return folder / "out" / "index.html"


def chromium(*arguments: str) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def attack_page(tiny_photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("attack")
    with serving(brightness_rule, 32) as server, Client(server.url) as client:
        settings = Settings("cgba", 60, 100.0, spatial="none", limit=4, surrogates=["0123456789abcdef" * 4])
        Campaign(RemoteOracle(client), tiny_photos / "val", settings, out).run(server.url + "/" + "long" * 40)
    return out / "index.html"


def measured_in_a_frame(page, tmp_path, width):
    """Chromium's windows are at least 500 wide; a frame may be as narrow as a phone."""
    framed = tmp_path / "framed.html"
    framed.write_text(FRAME.format(width=width, page=html.escape(page.read_text(), quote=True)))
    dom = chromium("--window-size=1400,1600", "--virtual-time-budget=5000", "--dump-dom", framed.as_uri())
    title = re.search(r"<title>([\d.]+(?: [\d.]+)*)</title>", dom)
    assert title is not None, dom[:300]
    return map(float, title[1].split())


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_of_an_attacks_page(attack_page, tmp_path, width):
    scroll_width, client_width, _, broken, *_ = measured_in_a_frame(attack_page, tmp_path, width)
    assert client_width == width
    assert scroll_width <= client_width
    assert broken == 0


def test_each_grid_says_how_many_maps_it_has(page):
    text = page.read_text()
    assert re.findall(r"under each of the (\d+) maps", text) == ["775", "27"]
    assert "<h2>Corners of the spatial grid (27 of its maps)</h2>" in text


@pytest.mark.parametrize("width", [360, 500, 1280])
def test_nothing_sticks_out(page, tmp_path, width):
    scroll_width, client_width, pictures, broken, smallest, largest = measured_in_a_frame(page, tmp_path, width)
    assert client_width == width
    assert scroll_width <= client_width
    assert pictures >= 8
    assert broken == 0
    assert smallest >= 11  # CSS pixels of the smallest words
    assert largest <= 16  # of those in plots, which grow to no more than their own size


def test_it_is_drawn(page, tmp_path):
    shot = tmp_path / "page.png"
    chromium("--window-size=1280,2400", f"--screenshot={shot}", page.as_uri())
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape[:2] == (2400, 1280)
    lines = (pixels.std(axis=(1, 2)) > 1).mean()
    assert lines > 0.5  # more than half of the lines of the screen hold something
    colourful = (pixels.max(axis=2) - pixels.min(axis=2) > 60).mean()
    assert colourful > 0.01  # the curves, the heat map, the pictures


def test_it_prints(page, tmp_path):
    pdf = tmp_path / "page.pdf"
    chromium(f"--print-to-pdf={pdf}", "--no-pdf-header-footer", page.as_uri())
    content = Path(pdf).read_bytes()
    assert content.startswith(b"%PDF")
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", content)) < 15
