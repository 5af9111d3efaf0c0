"""The page of an evaluation: one self-contained HTML file with the table, the plots and the pictures."""

import base64
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from PIL import Image

from attack.evaluation import svg
from attack.evaluation.published import PUBLISHED
from attack.evaluation.report import REPORT_VERSION
from attack.evaluation.session import Result, Shot
from model.errors import DataError
from model.files import replace_file
from model.labels import CLASSES
from model.pixels import Pixels, load_square

TEMPLATES: Final = Path(__file__).parent
AT_THE_LIMIT: Final = "at_the_limit"
WEBP_QUALITY: Final = 90


def write_page(out: Path, report: dict[str, Any], results: Mapping[str, Result], beside: Path | None = None) -> None:
    """Write `index.html`, and the pictures at the limit as PNGs for later pages to show beside their own."""
    limit_shots = save_limit_shots(out, results)
    other = None if beside is None else read_report(beside)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.1f}"
    page = environment.get_template("page.html.j2").render(
        report=report,
        published=PUBLISHED,
        other=other,
        other_rows={row["name"]: row for row in other["attacks"]} if other else {},
        curves=_curves(report),
        grids=[
            (row["title"], len(grid["wrong"]), grid_map(grid))
            for row in report["attacks"]
            if (grid := report["grids"].get(row["name"]))
        ],
        matrices={name: matrix_table(entries) for name, entries in report["corruptions"].items()},
        heat=svg.heat,
        galleries=[
            (row, [_card(shot) for shot in results[row["name"]].shots])
            for row in report["attacks"]
            if row["name"] in results
        ],
        pairs=_pairs(limit_shots, beside),
        command=command_of(report["settings"]),
        classes=CLASSES,
    )
    replace_file(out / "index.html", page.encode(errors="replace"))


def read_report(folder: Path) -> dict[str, Any]:
    """`report.json` of an earlier evaluation. Raises DataError."""
    file = folder / "report.json" if folder.is_dir() else folder
    try:
        report: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not a readable report of `trades-bob evaluate`") from error
    parts = {"settings", "photos", "model", "attacks"}
    if not isinstance(report, dict) or report.get("version") != REPORT_VERSION or not parts <= report.keys():
        raise DataError(f"{file}: not a report that this version reads")
    return report


def command_of(settings: Mapping[str, Any]) -> str:
    """The command that repeats the run."""
    words = ["trades-bob", "evaluate", f"--{settings['kind']}", settings["reference"], "--images", settings["images"]]
    if settings["attacks"]:
        words += ["--attacks", ",".join(settings["attacks"])]
    for name in ("profile", "limit", "seed", "size", "device"):
        if settings[name] is not None:
            words += [f"--{name}", str(settings[name])]
    for bundle in settings.get("surrogates", ()):
        words += ["--surrogate", bundle]
    return shlex.join([*words, "--out", "DIR"])


def save_limit_shots(out: Path, results: Mapping[str, Result]) -> list[Shot]:
    """Write the walks' pictures at the limit into `out/at_the_limit/`, by the photo's name."""
    shots = [shot for result in results.values() for shot in result.detail.get(AT_THE_LIMIT, [])]
    for shot in shots:
        for kind, pixels in (("before", shot.before), ("after", shot.after)):
            target = limit_file(out, shot.photo, kind)
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, _encoded(pixels, "PNG"))
    return shots


def limit_file(out: Path, photo: str, kind: str) -> Path:
    """Where such a picture lies: `bird/0001.jpg` -> `at_the_limit/bird-0001.jpg.after.png`."""
    return out / AT_THE_LIMIT / f"{photo.replace('/', '-')}.{kind}.png"


def _pairs(shots: Sequence[Shot], beside: Path | None) -> list[dict[str, Any]]:
    """The walks' pictures at the limit, each with the other model's picture of the same photo where there is one."""
    pairs = []
    for shot in shots:
        theirs = (
            None if beside is None else limit_file(beside if beside.is_dir() else beside.parent, shot.photo, "after")
        )
        card = _card(shot)
        card["theirs"] = _data_url(load_square(theirs, shot.after.shape[0])) if theirs and theirs.exists() else None
        pairs.append(card)
    return pairs


def _card(shot: Shot) -> dict[str, Any]:
    bicycle, bird = shot.logits
    return {
        "photo": shot.photo,
        "label": CLASSES[shot.label],
        "answer": CLASSES[int(bird > bicycle)],
        "note": shot.note,
        "logits": f"{bicycle:.2f}, {bird:.2f}",
        "before": _data_url(shot.before),
        "after": _data_url(shot.after),
    }


def _curves(report: Mapping[str, Any]) -> Markup | None:
    series = {row["title"]: row["curve"] for row in report["attacks"] if row["curve"]}
    return svg.curves(series, "coverage", "risk: share of wrong among covered", report["coverage"]) if series else None


def grid_map(grid: Mapping[str, Any]) -> Markup:
    """The heat map of a grid: the axis with most values runs across, the other two make panels and rows."""
    names = ("angles_degrees", "dxs_px", "dys_px")
    titles = {"angles_degrees": "angle", "dxs_px": "dx", "dys_px": "dy"}
    across = max(names, key=lambda name: len(grid[name]))
    outer, inner = (name for name in names if name != across)
    shares = iter(wrong / grid["n"] for wrong in grid["wrong"])
    at: dict[tuple[float, ...], float] = {
        (a, b, c): next(shares) for a in grid[names[0]] for b in grid[names[1]] for c in grid[names[2]]
    }

    def value(panel: float, row: float, column: float) -> float:
        place = {outer: panel, inner: row, across: column}
        return at[place[names[0]], place[names[1]], place[names[2]]]

    panels = [
        (f"{titles[outer]} {panel:+g}", [[value(panel, row, column) for column in grid[across]] for row in grid[inner]])
        for panel in grid[outer]
    ]
    return svg.heat_panels(panels, grid[inner], grid[across], titles[inner], titles[across])


def matrix_table(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{severities, lines: [(corruption, [share of wrong answers, by severity])]}."""
    severities = sorted({entry["severity"] for entry in entries})
    lines: dict[str, list[float]] = {}
    for entry in entries:
        lines.setdefault(entry["corruption"].replace("_", " "), []).append(entry["errors"] / entry["n"])
    return {"severities": severities, "lines": list(lines.items())}


def _encoded(pixels: Pixels, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, quality=WEBP_QUALITY)
    return stream.getvalue()


def _data_url(pixels: Pixels) -> str:
    return "data:image/webp;base64," + base64.b64encode(_encoded(pixels, "WEBP")).decode()
