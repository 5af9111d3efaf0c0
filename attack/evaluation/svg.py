"""Small plots as inline SVG: curves, heat maps. They scale with the page and print as lines, not pixels."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from markupsafe import Markup, escape

COLOURS: Final = ("#1b6ca8", "#c1440e", "#2a7f4f", "#8a4fa0", "#a8761b", "#444444", "#b0306a", "#2f8f9d", "#6b7a1e")
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44
LINE = 17

Points = Sequence[Sequence[float]]


def curves(series: Mapping[str, Points], x_title: str, y_title: str, mark_x: float | None = None) -> Markup:
    """Step curves of named (x, y) points in [0, 1], with a legend and, where wanted, a vertical line."""
    parts = [_frame(x_title, y_title)]
    if mark_x is not None:
        x = _x(mark_x)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="4 3"/>'
        )
    for number, (name, points) in enumerate(series.items()):
        colour, y = COLOURS[number % len(COLOURS)], HEIGHT + LINE * (number + 1)
        parts.append(f'<path d="{_steps(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + 24}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="3"/>'
        )
        parts.append(f'<text x="{LEFT + 32}" y="{y}">{escape(name)}</text>')
    return _svg(WIDTH, HEIGHT + LINE * len(series) + 8, parts, f"{y_title} against {x_title}")


def _steps(points: Points) -> str:
    if not points:
        return ""
    moves = [f"M{_x(points[0][0])} {_y(points[0][1])}"]
    moves += [f"L{_x(x)} {_y(before)} L{_x(x)} {_y(y)}" for (_, before), (x, y) in pairwise(points)]
    return " ".join(moves)


def _x(value: float) -> float:
    return round(LEFT + value * (WIDTH - LEFT - RIGHT), 1)


def _y(value: float) -> float:
    return round(HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM), 1)


def _frame(x_title: str, y_title: str) -> str:
    parts = []
    for tenth in range(0, 11, 2):
        value, x, y = tenth / 10, _x(tenth / 10), _y(tenth / 10)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.1f}</text>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:.1f}</text>')
    parts.append(f'<text x="{_x(0.5)}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(f'<text transform="translate(14 {_y(0.5)}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>')
    return "".join(parts)


def heat_panels(
    panels: Sequence[tuple[str, Sequence[Sequence[float]]]],
    rows: Sequence[float],
    columns: Sequence[float],
    row_title: str,
    column_title: str,
) -> Markup:
    """Panels one under another, each a heat map of values in [0, 1]: white is 0, dark red is 1."""
    cell, gap, left = 17, 30, 96
    height_of_panel = cell * len(rows) + gap
    width, height = left + cell * len(columns) + 10, height_of_panel * len(panels) + 40
    parts = []
    for number, (title, values) in enumerate(panels):
        top = 22 + number * height_of_panel
        parts.append(f'<text x="{left}" y="{top - 6}">{escape(title)}</text>')
        for place, (label, line) in enumerate(zip(rows, values, strict=True)):
            y = top + place * cell
            parts.append(f'<text x="{left - 6}" y="{y + 13}" text-anchor="end">{escape(row_title)} {label:+g}</text>')
            parts += [
                f'<rect x="{left + k * cell}" y="{y}" width="{cell - 1}" height="{cell - 1}" fill="{heat(value)}">'
                f"<title>{escape(column_title)} {column:+g}: {value:.0%}</title></rect>"
                for k, (column, value) in enumerate(zip(columns, line, strict=True))
            ]
    bottom = 22 + len(panels) * height_of_panel - gap + 16
    for k in range(0, len(columns), max(2, len(columns) // 6)):
        x = left + k * cell + cell / 2
        parts.append(f'<text x="{x}" y="{bottom}" text-anchor="middle">{columns[k]:+g}</text>')
    middle = left + cell * len(columns) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 18}" text-anchor="middle">{escape(column_title)}</text>')
    return _svg(width, height, parts, "share of wrong answers, map by map")


def heat(value: float) -> str:
    """[0, 1] -> a colour from almost white to dark red; the square root lets rare mistakes be seen."""
    share = max(0.0, min(1.0, value)) ** 0.5
    red, green, blue = (round(a + (b - a) * share) for a, b in zip((246, 246, 243), (140, 20, 20), strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> Markup:
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" style="--width:{width}px">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704  (every text in it is escaped above)
