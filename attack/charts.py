"""The charts of an attack's page as SVG: L2 against queries, and the share of photos that still stand.

Q points along the axis of queries (logarithmic), P photos.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 44
POINTS: Final = 160
BLUE: Final = "#1f6feb"
Numbers = npt.NDArray[np.float64]


def charts(images: list[dict[str, Any]], max_l2: float | None, max_queries: int) -> list[Markup]:
    """L2 against queries (median and quartiles) and survival; none where no photo was attacked.

    Without a limit any wrong answer counts, so that there is no distance to show.
    """
    if not any(image["curve"] for image in images):
        return []
    queries = np.unique(np.geomspace(1, max(2, max_queries), POINTS).round())
    attacked = [image for image in images if image["status"] in ("adversarial", "robust")]
    nearest = np.array([_nearest(image["curve"], queries) for image in attacked])
    if max_l2 is None:
        return [_survival_chart("no wrong answer", queries, np.isinf(nearest).mean(axis=0))]
    with np.errstate(invalid="ignore"):
        quartiles = np.quantile(nearest, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
    survival = _survival_chart("no adversarial within the limit", queries, (nearest > max_l2).mean(axis=0))
    return [_distance_chart(queries, quartiles, max_l2), survival]


def _nearest(curve: list[list[float]], queries: Numbers) -> Numbers:
    """(Q,) the nearest distance after so many queries; infinite before the first."""
    steps = np.array([(0.0, math.inf), *curve])
    nearest: Numbers = steps[np.searchsorted(steps[:, 0], queries, side="right") - 1, 1]
    return nearest


def _distance_chart(queries: Numbers, quartiles: Numbers, max_l2: float) -> Markup:
    largest = float(quartiles[np.isfinite(quartiles)].max(initial=0.1))
    axes = _Axes(float(queries[-1]), 1.05 * largest)
    known = np.isfinite(quartiles[1])
    low, median, high = np.clip(quartiles[:, known], 0, axes.top)
    band = axes.points(queries[known], high) + axes.points(queries[known], low)[::-1]
    marks = [f'<polygon points="{" ".join(band)}" fill="{BLUE}" fill-opacity=".15"/>']
    marks.append(axes.line(queries[known], median))
    if max_l2 <= axes.top:
        marks.append(axes.level(max_l2, "#c33", dashed=True))
    return axes.chart("L2 of the nearest adversarial: median and quartiles", marks)


def _survival_chart(found: str, queries: Numbers, standing: Numbers) -> Markup:
    axes = _Axes(float(queries[-1]), 1.0)
    return axes.chart(f"Share of photos with {found}", [axes.line(queries, standing)])


@dataclass(frozen=True)
class _Axes:
    """Queries from 1 to `last`, logarithmic, against 0 to `top`."""

    last: float
    top: float

    def x(self, query: float) -> float:
        return round(LEFT + math.log(query) / math.log(self.last) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM), 1)

    def points(self, queries: Numbers, values: Numbers) -> list[str]:
        return [f"{self.x(query)},{self.y(value)}" for query, value in zip(queries, values, strict=True)]

    def line(self, queries: Numbers, values: Numbers) -> str:
        points = " ".join(self.points(queries, values))
        return f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="2"/>'

    def level(self, value: float, colour: str, dashed: bool = False) -> str:
        y, dashes = self.y(value), ' stroke-dasharray="4 4"' if dashed else ""
        return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="{colour}"{dashes}/>'

    def chart(self, title: str, marks: list[str]) -> Markup:
        """Grid, labels and title around the marks."""
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">']
        for value in np.linspace(0, self.top, 5):
            parts.append(self.level(value, "#e4e4e4"))
            parts.append(f'<text x="{LEFT - 8}" y="{self.y(value) + 4}" text-anchor="end">{value:.3g}</text>')
        for power in range(int(math.log10(self.last)) + 1):
            x, foot = self.x(10.0**power), HEIGHT - BOTTOM
            parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{foot}" stroke="#e4e4e4"/>')
            parts.append(f'<text x="{x}" y="{foot + 18}" text-anchor="middle">{10**power:,}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts += [*marks, f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">queries per photo</text></svg>']
        caption = f"<figcaption>{title}</figcaption>"
        return Markup("".join([*parts, caption]))  # noqa: S704  (numbers and fixed words alone)
