"""Which attacks there are, what each one runs, and how much it costs: the table's rows.

A pass is one picture through the network.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal

from torch import Tensor

from attack.decision import WITH_SURROGATE
from attack.evaluation import variants, walks
from attack.evaluation.searches import run_search, run_spsa
from attack.evaluation.session import Result, Session
from attack.evaluation.subject import Subject
from attack.gradient.apgd import APGD, apgd
from attack.gradient.objective import Attacked
from attack.gradient.pgd import PGD, pgd
from attack.gradient.spsa import SPSA
from attack.gradient.square import Square, square
from attack.transforms.grid import DOCUMENTED, KIT, Grid
from model.console import Report
from model.errors import ConfigError
from model.photos import Photo

Needs = Literal["labels", "logits", "gradients"]
Profile = Literal["full", "short"]
EPSILON: Final = 16 / 255
"""The kit's L-inf limit, also for the stronger attacks beside it."""
PGD_STEPS: Final = 50
LABEL_ONLY: Final = "auto"
LABEL_ONLY_QUERIES: Final = 1000
LONG_QUERIES: Final = 5000
LONG_ENOUGH: Final = 0.5
"""Share of the limit: from there on a push to the limit is far across the boundary, and nearer is no better."""
GRADIENT_SHARE: Final = 3
"""A backward pass keeps every layer: so many times fewer pictures go together."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    title: str
    run: Callable[[Session, Sequence[Photo], Report, Sequence[Photo]], Result]
    """(session, photos, report, all photos) -> result."""
    needs: Needs
    passes: int
    """Passes per photo, at most; where gradients are needed each is a forward and a backward pass."""
    parameters: Callable[[int], dict[str, Any]]
    """What a report says about it, for pictures of side S."""
    most: int | None = None
    """Photos the kit gives it, where that is not all of them."""
    guided: bool = False
    """Whether it follows the gradients of a surrogate, where there is one."""

    def described(self, session: Session) -> tuple[str, dict[str, Any]]:
        """The title and the parameters of this row in an evaluation."""
        parameters = self.parameters(session.size)
        if session.surrogate is None or not self.guided:
            return self.title, parameters
        return f"{self.title}, with a surrogate", {**parameters, "surrogates": session.surrogate.identities}


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
        partial(variants.spatial, grid=grid),
        len(grid.maps),
        **values,
        border="15 % a side",
        note="pixels of a 224 px picture; they scale with the side",
    )


def _walk(title: str, walk: walks.Walk, most: int | None = None) -> Row:
    def run(session: Session, photos: Sequence[Photo], report: Report, pool: Sequence[Photo]) -> Result:
        return walks.run_walk(session, photos, report, pool, walk)

    def parameters(size: int) -> dict[str, Any]:
        return {
            "attack": walk.attack,
            "max_queries": walk.queries,
            "max_l2": walks.max_l2(size),
            "first": "random spatial map",
            "end": _end(walk),
        }

    return Row(title, run, "labels", walk.queries, parameters, most, guided=walk.attack in WITH_SURROGATE)


def _end(walk: walks.Walk) -> str:
    if walk.kit:
        return "within the limit"
    nearer = f"within {walk.enough:g} of the limit or " if walk.enough else ""
    return f"{nearer}all queries spent, then pushed to the limit"


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
    return _search(title, "pgd", pgd, lambda size: scaled(settings, size), "gradients", settings.passes)


def scaled(settings: PGD, size: int) -> PGD:
    """L2 limits hold at 224 px and scale with the side; L-inf limits do not."""
    if settings.norm == "l_inf":
        return settings
    return PGD("l_2", walks.max_l2(size), settings.steps, settings.restarts, settings.relative_step)


def gradient_batch(subject: Subject) -> int:
    """Pictures that go forward and backward together."""
    return max(1, subject.pixels_together // subject.input_size**2 // GRADIENT_SHARE)


def _search(
    title: str,
    name: str,
    attack: Callable[..., Attacked],
    settings_at: Callable[[int], Any],
    needs: Needs,
    passes: int,
) -> Row:
    def run(session: Session, photos: Sequence[Photo], report: Report, _: Sequence[Photo]) -> Result:
        subject = session.subject
        model = subject.differentiable if needs == "gradients" else subject.logits_there
        threshold = float("-inf") if subject.abstain_below is None else subject.abstain_below

        def search(x: Tensor, y: Tensor, seeds: Sequence[int]) -> Attacked:
            if needs == "gradients":
                subject.count(len(x) * settings_at(subject.input_size).passes)
            return attack(model, x, y, seeds, settings_at(subject.input_size), threshold)

        most = gradient_batch(subject) if needs == "gradients" else subject.batch
        return run_search(session, photos, report, name, search, most)

    return Row(title, run, needs, passes, lambda size: asdict(settings_at(size)))


ROWS: Final[dict[str, Row]] = {
    "clean": _variants("clean", variants.clean, 1),
    "corruptions": _variants(
        "common corruptions",
        variants.corruptions,
        len(variants.KIT_VARIANTS),
        corruptions=[one.name for one in variants.KIT_VARIANTS],
        severity=1,
        corrupted_at_px=224,
    ),
    "corruptions-all": _variants(
        "all corruptions, all severities",
        partial(variants.corruptions, variants=variants.ALL_VARIANTS),
        len(variants.ALL_VARIANTS),
        severities=[1, 2, 3, 4, 5],
        corrupted_at_px=224,
    ),
    "spatial": _grid("spatial grid (as the kit ran it)", KIT),
    "spatial-documented": _grid("spatial grid (as documented)", DOCUMENTED),
    "spsa": _spsa(),
    "boundary": _walk(
        "boundary after a random spatial map", walks.Walk("boundary", walks.KIT_QUERIES, kit=True), most=100
    ),
    "label-only": _walk(
        f"label-only, {LABEL_ONLY_QUERIES:,} queries, after a random spatial map",
        walks.Walk(LABEL_ONLY, LABEL_ONLY_QUERIES),
    ),
    "label-only-long": _walk(
        f"label-only, {LONG_QUERIES:,} queries, after a random spatial map",
        walks.Walk(LABEL_ONLY, LONG_QUERIES, enough=LONG_ENOUGH),
    ),
    "label-only-kit": _walk(
        f"label-only, up to {walks.KIT_QUERIES:,} queries as the kit's, after a random spatial map",
        walks.Walk(LABEL_ONLY, walks.KIT_QUERIES, kit=True),
        most=100,
    ),
    "pgd": _pgd("PGD-50, L-inf 16/255, after a random spatial map", PGD("l_inf", EPSILON, PGD_STEPS)),
    "pgd-restarts": _pgd(
        "PGD-50, L-inf 16/255, 20 restarts, after a random spatial map", PGD("l_inf", EPSILON, PGD_STEPS, restarts=20)
    ),
    "pgd-l2": _pgd("PGD-50, L2 10, after a random spatial map", PGD("l_2", walks.KIT_L2, PGD_STEPS)),
    "apgd": _search(
        "APGD, L-inf 16/255, margin loss, after a random spatial map",
        "apgd",
        apgd,
        lambda _: APGD("l_inf", EPSILON, steps=100),
        "gradients",
        APGD().passes,
    ),
    "apgd-ce": _search(
        "APGD, L-inf 16/255, cross-entropy, after a random spatial map",
        "apgd-ce",
        apgd,
        lambda _: APGD("l_inf", EPSILON, steps=100, loss="cross_entropy"),
        "gradients",
        APGD().passes,
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

WARM_UP: Final = ("clean", "corruptions", "spatial", "spsa", "boundary")
"""The rows of the full profile: the kit's, on all photos."""
SHORT: Final[dict[str, int | None]] = {
    "clean": None,
    "corruptions": 1000,
    "spatial": 100,
    "pgd": 100,
    "spsa": 10,
    "label-only": 30,
}
"""The rows of the short profile, and to how many photos each is kept at a side of up to `SHORT_SIDE`."""
SHORT_FOR_OTHERS: Final = 30
"""Photos that the short profile gives to a row it does not list."""
SHORT_SIDE: Final = 128
"""Above this side in pixels photos get fewer as pictures get dearer: (128 / S)^2 as many, so that an hour stays one."""


@dataclass(frozen=True)
class Planned:
    """A row, and the photos it will see."""

    name: str
    row: Row
    photos: list[Photo]

    @property
    def passes(self) -> int:
        """Passes at most."""
        return self.row.passes * len(self.photos)


def plan(photos: Sequence[Photo], profile: Profile, names: Sequence[str] | None, size: int) -> list[Planned]:
    """Which rows run on which photos, for pictures of side `size`. A name may end in `:N`, for N photos.

    Raises ConfigError for a name that is no attack and a number that is none.
    """
    planned: dict[str, Planned] = {}
    for asked in names or (WARM_UP if profile == "full" else SHORT):
        name, count = asked_for(asked)
        most = count or min(_limits(name, profile, size), default=len(photos))
        planned.setdefault(name, Planned(name, ROWS[name], list(photos[:most])))
    return list(planned.values())


def asked_for(text: str) -> tuple[str, int | None]:
    """`spatial:100` -> the row's name and the number of photos; without `:N` no number. Raises ConfigError."""
    name, colon, count = text.partition(":")
    if name not in ROWS:
        raise ConfigError(f"no attack is called {name!r}; there are {', '.join(ROWS)}")
    if colon and not (count.isascii() and count.isdigit() and int(count) > 0):
        raise ConfigError(f"--attacks {text!r}: write {name}:N for N photos, N at least 1")
    return name, int(count) if colon else None


def _limits(name: str, profile: Profile, size: int) -> list[int]:
    """What the kit and the profile allow a row; nothing where neither limits it."""
    limits = [ROWS[name].most]
    if profile == "short":
        kept = SHORT.get(name, SHORT_FOR_OTHERS)
        limits.append(kept and max(1, round(kept * min(1, SHORT_SIDE / size) ** 2)))
    return [limit for limit in limits if limit is not None]


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
