"""The page of an attack: one self-contained HTML file."""

import base64
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, FileSystemLoader

from attack.charts import charts
from attack.results import png_bytes
from model.files import replace_file
from model.pixels import read_picture

TRIPTYCHS: Final = 24
TEMPLATES: Final = Path(__file__).parent


def write_page(out: Path, results: dict[str, Any]) -> None:
    """Write `index.html` beside `results.json`."""
    images = results["images"]
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page.html.j2").render(
        results=results,
        bounded=results["parameters"]["max_l2"] is not None,
        triptychs=triptychs(out, results),
        failed=[image for image in images if image["status"] == "failed"],
        charts=charts(images, results["parameters"]["max_l2"], results["parameters"]["max_queries"]),
    )
    replace_file(out / "index.html", page.encode(errors="replace"))


def triptychs(out: Path, results: dict[str, Any], most: int = TRIPTYCHS) -> list[dict[str, Any]]:
    """The `most` nearest adversarials as {image, pictures: [original, adversarial, difference] as data URLs, gain}.

    Raises ImageError where one that an earlier run wrote has gone or is damaged.
    """
    nearest = sorted((i for i in results["images"] if i["status"] == "adversarial"), key=lambda i: float(i["l2"]))
    return [_triptych(out, image) for image in nearest[:most]]


def _triptych(out: Path, image: dict[str, Any]) -> dict[str, Any]:
    """Original, adversarial, and their difference amplified until its largest value fills half the range."""
    original, adversarial = (np.asarray(read_picture(out / image[key])) for key in ("original", "file"))
    difference = adversarial.astype(np.float32) - original
    gain = 127 / max(1.0, float(np.abs(difference).max()))
    amplified = (127.5 + gain * difference).round().astype(np.uint8)
    pictures = [_data_url(png_bytes(pixels)) for pixels in (original, adversarial, amplified)]
    return {"image": image, "pictures": pictures, "gain": gain}


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
