"""The page of an evaluation: one self-contained HTML file with the table, the plots and the pictures."""

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from attack.evaluation import svg
from attack.evaluation.at_the_limit import AT_THE_LIMIT, encoded
from attack.evaluation.published import PUBLISHED
from attack.evaluation.report import REPORT_VERSION
from attack.evaluation.session import Result, Shot
from model.errors import DataError, ImageError
from model.files import replace_file
from model.labels import CLASSES
from model.pixels import Pixels, load_square

TEMPLATES: Final = Path(__file__).parent
SHOWN: Final = frozenset({"name", "covered_at_80", "errors_at_80", "accuracy_at_80"})
"""What a row of a report beside another must say."""


def write_page(out: Path, report: dict[str, Any], results: Mapping[str, Result], beside: Path | None = None) -> None:
    """Write `index.html`."""
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
        pairs=_pairs(results, other, beside),
        command=command_of(report["settings"]),
        classes=CLASSES,
    )
    replace_file(out / "index.html", page.encode(errors="replace"))


def read_report(folder: Path) -> dict[str, Any]:
    """`report.json` of an earlier evaluation. Raises DataError."""
    file = folder / "report.json" if folder.is_dir() else folder
    try:
        report: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # the last of brackets nested without end
        raise DataError(f"{file}: not a readable report of `trades-bob evaluate`") from error
    if not _is_report(report):
        raise DataError(f"{file}: not a report that this version reads")
    for row in report["attacks"]:
        _unmeasured(row, "covered_at_80", "accuracy_at_80")
        _unmeasured(row.get("at_threshold", {}), "covered", "accuracy")
    return report


def _is_report(report: Any) -> bool:
    """Whether a repetition, and a page that shows it beside another, find in it what they look for."""
    if not isinstance(report, dict) or report.get("version") != REPORT_VERSION:
        return False
    hashed = [
        part for part in (report.get("photos"), report.get("model")) if isinstance(part, dict) and "sha256" in part
    ]
    if len(hashed) < 2 or not isinstance(report.get("settings"), dict) or not isinstance(report.get("attacks"), list):
        return False
    return all(isinstance(row, dict) and row.keys() >= SHOWN for row in report["attacks"])


def _unmeasured(scores: dict[str, Any], covered: str, accuracy: str) -> None:
    """Of no answer there is no accuracy; reports of older versions say 1."""
    if scores.get(covered) == 0:
        scores[accuracy] = None


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


def _pairs(results: Mapping[str, Result], other: Mapping[str, Any] | None, beside: Path | None) -> list[dict[str, Any]]:
    """The walks' pictures at the limit, each with the other model's picture of the same row and photo, if there is one.

    Of the other evaluation's files those that its report lists: what else lies there is of another run.
    """
    listed = (other or {}).get(AT_THE_LIMIT, {})
    pairs = []
    for row, result in results.items():
        files = {entry["photo"]: entry["after"] for entry in listed.get(row, ())}
        for shot in result.detail.get(AT_THE_LIMIT, ()):
            card = _card(shot) | {"row": row, "theirs": None}
            if beside is not None and shot.photo in files:
                theirs = (beside if beside.is_dir() else beside.parent) / files[shot.photo]
                with suppress(ImageError):  # it has gone, or is damaged: the page is worth more
                    card["theirs"] = _data_url(load_square(theirs, shot.after.shape[0]))
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


def _data_url(pixels: Pixels) -> str:
    return "data:image/webp;base64," + base64.b64encode(encoded(pixels, "WEBP")).decode()
