"""Which attacks there are, what each one runs, and how much it costs: the table's rows.

A pass is one picture through the network.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal

from torch import Tensor

from attack.evaluation import transforms, walks
from attack.evaluation.grid import DOCUMENTED, KIT, Grid
from attack.evaluation.searches import run_search, run_spsa
from attack.evaluation.session import Result, Session
from attack.gradient.apgd import APGD, apgd
from attack.gradient.objective import Attacked
from attack.gradient.pgd import PGD, pgd
from attack.gradient.spsa import SPSA
from attack.gradient.square import Square, square
from model.console import Report
from model.errors import ConfigError
from model.photos import Photo

Needs = Literal["labels", "logits", "gradients"]
Profile = Literal["full", "short"]
EPSILON: Final = 16 / 255
"""The kit's L-inf limit, also for the stronger attacks beside it."""
LABEL_ONLY: Final = "auto"
LABEL_ONLY_QUERIES: Final = 1000
BACKWARD: Final = 5
"""Passes that a forward and a backward pass cost at most: three on a GPU, more on a CPU, where the rest runs faster."""
GRADIENT_SHARE: Final = 4
"""A backward pass keeps every layer: so many times fewer pictures go together."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    title: str
    run: Callable[[Session, Sequence[Photo], Report, Sequence[Photo]], Result]
    """(session, photos, report, all photos) -> result."""
    needs: Needs
    passes: float
    """Passes per photo, at most."""
    parameters: Callable[[int], dict[str, Any]]
    """What a report says about it, for pictures of side S."""
    most: int | None = None
    """Photos the kit gives it, where that is not all of them."""


def _variants(title: str, run: Callable[..., Result], passes: int, **parameters: object) -> Row:
    return Row(
        title,
        lambda session, photos, report, _: run(session, photos, report),
        "labels",
        passes,
        lambda _: dict(parameters),
    )


def _grid(title: str, grid: Grid) -> Row:
    values = {name: list(value) for name, value in asdict(grid).items()}
    return _variants(
        title,
        partial(transforms.spatial, grid=grid),
        len(grid.maps),
        **values,
        border="15 % a side",
        note="pixels of a 224 px picture; they scale with the side",
    )


def _walk(title: str, attack: str, queries: int, most: int | None = None) -> Row:
    def run(session: Session, photos: Sequence[Photo], report: Report, pool: Sequence[Photo]) -> Result:
        return walks.run_walk(session, photos, report, pool, attack, queries)

    def parameters(size: int) -> dict[str, Any]:
        return {"attack": attack, "max_queries": queries, "max_l2": walks.max_l2(size), "first": "random spatial map"}

    return Row(title, run, "labels", queries, parameters, most)


def _spsa() -> Row:
    settings = SPSA(epsilon=EPSILON)
    return Row(
        "SPSA after a random spatial map",
        lambda session, photos, report, _: run_spsa(session, photos, report, settings),
        "logits",
        settings.passes,
        lambda _: asdict(settings),
    )


def _pgd(title: str, settings: PGD) -> Row:
    return _search(title, "pgd", pgd, lambda size: scaled(settings, size), "gradients", BACKWARD * settings.passes)


def scaled(settings: PGD, size: int) -> PGD:
    """L2 limits hold at 224 px and scale with the side; L-inf limits do not."""
    if settings.norm == "l_inf":
        return settings
    return PGD("l_2", walks.max_l2(size), settings.steps, settings.restarts, settings.relative_step)


def _search(
    title: str,
    name: str,
    attack: Callable[..., Attacked],
    settings_at: Callable[[int], Any],
    needs: Needs,
    passes: float,
) -> Row:
    def run(session: Session, photos: Sequence[Photo], report: Report, _: Sequence[Photo]) -> Result:
        subject = session.subject
        model = subject.differentiable if needs == "gradients" else subject.logits_there
        threshold = float("-inf") if subject.abstain_below is None else subject.abstain_below

        def search(x: Tensor, y: Tensor, seeds: Sequence[int]) -> Attacked:
            subject.queries += len(x) * settings_at(subject.input_size).passes if needs == "gradients" else 0
            return attack(model, x, y, seeds, settings_at(subject.input_size), threshold)

        most = max(1, subject.batch // GRADIENT_SHARE) if needs == "gradients" else subject.batch
        return run_search(session, photos, report, name, search, most)

    return Row(title, run, needs, passes, lambda size: asdict(settings_at(size)))


ROWS: Final[dict[str, Row]] = {
    "clean": _variants("clean", transforms.clean, 1),
    "corruptions": _variants(
        "common corruptions",
        transforms.corruptions,
        len(transforms.KIT_VARIANTS),
        corruptions=[one.name for one in transforms.KIT_VARIANTS],
        severity=1,
        corrupted_at_px=224,
    ),
    "corruptions-all": _variants(
        "all corruptions, all severities",
        partial(transforms.corruptions, variants=transforms.ALL_VARIANTS),
        len(transforms.ALL_VARIANTS),
        severities=[1, 2, 3, 4, 5],
        corrupted_at_px=224,
    ),
    "spatial": _grid("spatial grid (as the kit ran it)", KIT),
    "spatial-documented": _grid("spatial grid (as documented)", DOCUMENTED),
    "spsa": _spsa(),
    "boundary": _walk("boundary after a random spatial map", "boundary", walks.KIT_QUERIES, most=100),
    "label-only": _walk(
        f"label-only, {LABEL_ONLY_QUERIES:,} queries, after a random spatial map", LABEL_ONLY, LABEL_ONLY_QUERIES
    ),
    "pgd": _pgd("PGD, L-inf 16/255, after a random spatial map", PGD("l_inf", EPSILON, steps=40, restarts=2)),
    "pgd-restarts": _pgd("PGD, L-inf 16/255, 20 restarts, after a random spatial map", PGD("l_inf", EPSILON, 40, 20)),
    "pgd-l2": _pgd("PGD, L2 10, after a random spatial map", PGD("l_2", walks.KIT_L2, steps=40, restarts=2)),
    "apgd": _search(
        "APGD, L-inf 16/255, margin loss, after a random spatial map",
        "apgd",
        apgd,
        lambda _: APGD("l_inf", EPSILON, steps=100),
        "gradients",
        BACKWARD * APGD().passes,
    ),
    "apgd-ce": _search(
        "APGD, L-inf 16/255, cross-entropy, after a random spatial map",
        "apgd-ce",
        apgd,
        lambda _: APGD("l_inf", EPSILON, steps=100, loss="cross_entropy"),
        "gradients",
        BACKWARD * APGD().passes,
    ),
    "square": _search(
        "Square, L-inf 16/255, 1,000 queries, after a random spatial map",
        "square",
        square,
        lambda _: Square(EPSILON, 1000),
        "logits",
        1000,
    ),
}
"""What `--attacks` knows."""

PROFILES: Final[dict[Profile, dict[str, int | None]]] = {
    "full": dict.fromkeys(("clean", "corruptions", "spatial", "spsa", "boundary")),
    "short": {"clean": 48, "corruptions": 48, "spatial": 12, "pgd": 48, "spsa": 3, "label-only": 16},
}
"""The rows a profile runs when none are named, and to how many photos each is kept."""
SHORT_FOR_OTHERS: Final = 16
"""Photos that the short profile gives to a row it does not list."""


@dataclass(frozen=True)
class Planned:
    """A row, and the photos it will see."""

    name: str
    row: Row
    photos: list[Photo]

    @property
    def passes(self) -> float:
        """Passes at most."""
        return self.row.passes * len(self.photos)


def plan(photos: Sequence[Photo], profile: Profile, names: Sequence[str] | None) -> list[Planned]:
    """Which rows run on which photos. Raises ConfigError for a name that is no attack."""
    unknown = [name for name in names or () if name not in ROWS]
    if unknown:
        raise ConfigError(f"no attack is called {unknown[0]!r}; there are {', '.join(ROWS)}")
    kept = PROFILES[profile]
    planned = []
    for name in dict.fromkeys(names or kept):
        limits = [ROWS[name].most, kept.get(name, None if profile == "full" else SHORT_FOR_OTHERS)]
        most = min((limit for limit in limits if limit is not None), default=len(photos))
        planned.append(Planned(name, ROWS[name], list(photos[:most])))
    return planned


def runs_on(row: Row, session: Session) -> str | None:
    """None if the subject gives what the row needs, else why not."""
    subject = session.subject
    if row.needs == "gradients" and subject.differentiable is None:
        return f"needs gradients, which {_a(subject.kind)} does not give"
    if row.needs == "logits" and not subject.sees_logits:
        return f"needs logits, which {_a(subject.kind)} does not give"
    return None


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
