"""Which attacks there are, what each one runs, and how much it costs: the table's rows.

A pass is one picture through the network.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, Literal, TypeVar

from torch import Tensor

from attack.decision import WITH_SURROGATE
from attack.evaluation import variants, walks
from attack.evaluation.searches import run_search, run_spsa
from attack.evaluation.session import Result, Session
from attack.evaluation.subject import Subject
from attack.gradient.apgd import APGD, apgd
from attack.gradient.balls import Norm
from attack.gradient.objective import Attacked
from attack.gradient.pgd import PGD, pgd
from attack.gradient.spsa import SPSA
from attack.gradient.square import Square, square
from attack.transforms.corruptions.parameters import SEVERITIES
from attack.transforms.grid import BORDER_SHARE, CORNERS, DOCUMENTED, KIT, Grid
from attack.transforms.spatial import KIT_SIZE
from model.console import Report
from model.errors import ConfigError
from model.photos import Photo

Needs = Literal["labels", "logits", "gradients"]
Profile = Literal["full", "short"]
EPSILON: Final = 16 / 255
"""The kit's L-inf limit, also for the stronger attacks beside it."""
PGD_STEPS: Final = 50
LABEL_ONLY: Final = "auto"
KIT_WALKS: Final = 100
"""Photos that the kit's boundary attack is given."""
AFTER_A_MAP: Final = "after a random spatial map"
Settings = TypeVar("Settings", PGD, APGD, Square)
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


def _corruptions(title: str, chosen: Sequence[variants.Corrupted], **parameters: object) -> Row:
    run = partial(variants.corruptions, variants=chosen)
    return _variants(title, run, len(chosen), **parameters, corrupted_at_px=KIT_SIZE)


def _grid(title: str, grid: Grid) -> Row:
    values = {name: list(value) for name, value in asdict(grid).items()}
    return _variants(
        title,
        partial(variants.spatial, grid=grid),
        len(grid.maps),
        **values,
        border=f"{100 * BORDER_SHARE:g} % a side",
        note=f"pixels of a {KIT_SIZE} px picture; they scale with the side",
    )


def _walk(title: str, walk: walks.Walk) -> Row:
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

    most = KIT_WALKS if walk.kit else None
    guided = walk.attack in WITH_SURROGATE
    return Row(f"{title} {AFTER_A_MAP}", run, "labels", walk.queries, parameters, most, guided)


def _label_only(walk: walks.Walk) -> Row:
    queries = f"up to {walk.queries:,} queries as the kit's" if walk.kit else f"{walk.queries:,} queries"
    return _walk(f"label-only, {queries},", walk)


def _end(walk: walks.Walk) -> str:
    if walk.kit:
        return "within the limit"
    nearer = f"within {walk.enough:g} of the limit or " if walk.enough else ""
    return f"{nearer}all queries spent, then pushed to the limit"


def _spsa(settings: SPSA) -> Row:
    return Row(
        f"SPSA {AFTER_A_MAP}",
        lambda session, photos, report, _: run_spsa(session, photos, report, settings),
        "logits",
        settings.passes,
        lambda _: asdict(settings),
    )


def _pgd(settings: PGD) -> Row:
    restarts = f", {settings.restarts} restarts" if settings.restarts > 1 else ""
    title = f"PGD-{settings.steps}, {_ball(settings.epsilon, settings.norm)}{restarts}"
    return _search(title, "pgd", pgd, settings, "gradients")


def _apgd(name: str, settings: APGD) -> Row:
    loss = {"margin": "margin loss", "cross_entropy": "cross-entropy"}[settings.loss]
    return _search(f"APGD, {_ball(settings.epsilon, settings.norm)}, {loss}", name, apgd, settings, "gradients")


def _square(settings: Square) -> Row:
    title = f"Square, {_ball(settings.epsilon)}, {settings.queries:,} queries"
    return _search(title, "square", square, settings, "logits")


def _ball(epsilon: float, norm: Norm = "l_inf") -> str:
    return f"L-inf {255 * epsilon:g}/255" if norm == "l_inf" else f"L2 {epsilon:g}"


def scaled(settings: Settings, size: int) -> Settings:
    """L2 limits hold at 224 px and scale with the side; L-inf limits do not."""
    if isinstance(settings, Square) or settings.norm == "l_inf":
        return settings
    return replace(settings, epsilon=settings.epsilon * size / KIT_SIZE)


def gradient_batch(subject: Subject) -> int:
    """Pictures that go forward and backward together."""
    return max(1, subject.pixels_together // subject.input_size**2 // GRADIENT_SHARE)


def _search(title: str, name: str, attack: Callable[..., Attacked], settings: Settings, needs: Needs) -> Row:
    def run(session: Session, photos: Sequence[Photo], report: Report, _: Sequence[Photo]) -> Result:
        subject, here = session.subject, scaled(settings, session.size)
        model = subject.differentiable if needs == "gradients" else subject.logits_there
        threshold = float("-inf") if subject.abstain_below is None else subject.abstain_below

        def search(x: Tensor, y: Tensor, seeds: Sequence[int]) -> Attacked:
            if needs == "gradients":
                subject.count(len(x) * here.passes)
            return attack(model, x, y, seeds, here, threshold)

        most = gradient_batch(subject) if needs == "gradients" else subject.batch
        return run_search(session, photos, report, name, search, most)

    return Row(f"{title}, {AFTER_A_MAP}", run, needs, settings.passes, lambda size: asdict(scaled(settings, size)))


ROWS: Final[dict[str, Row]] = {
    "clean": _variants("clean", variants.clean, 1),
    "corruptions": _corruptions(
        "common corruptions",
        variants.KIT_VARIANTS,
        corruptions=[one.name for one in variants.KIT_VARIANTS],
        severity=variants.KIT_SEVERITY,
    ),
    "corruptions-all": _corruptions(
        "all corruptions, all severities", variants.ALL_VARIANTS, severities=list(SEVERITIES)
    ),
    "spatial": _grid("spatial grid (as the kit ran it)", KIT),
    "spatial-documented": _grid("spatial grid (as documented)", DOCUMENTED),
    "spatial-corners": _grid("corners of the spatial grid (27 of its maps)", CORNERS),
    "spsa": _spsa(SPSA(EPSILON)),
    "boundary": _walk("boundary", walks.Walk("boundary", walks.KIT_QUERIES, kit=True)),
    "label-only": _label_only(walks.Walk(LABEL_ONLY, 1000)),
    # From half the limit on a push to it is far across the boundary, and a nearer start is no better.
    "label-only-long": _label_only(walks.Walk(LABEL_ONLY, 5000, enough=0.5)),
    "label-only-kit": _label_only(walks.Walk(LABEL_ONLY, walks.KIT_QUERIES, kit=True)),
    "pgd": _pgd(PGD("l_inf", EPSILON, PGD_STEPS)),
    "pgd-restarts": _pgd(PGD("l_inf", EPSILON, PGD_STEPS, restarts=20)),
    "pgd-l2": _pgd(PGD("l_2", walks.KIT_L2, PGD_STEPS)),
    "apgd": _apgd("apgd", APGD("l_inf", EPSILON, steps=100)),
    "apgd-ce": _apgd("apgd-ce", APGD("l_inf", EPSILON, steps=100, loss="cross_entropy")),
    "square": _square(Square(EPSILON, queries=1000)),
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
    """Which rows run on which photos, for pictures of side `size`. A name may end in `:N`, for N photos."""
    asked = asked_for(names or (WARM_UP if profile == "full" else tuple(SHORT)))
    mosts = {name: count or min(_limits(name, profile, size), default=len(photos)) for name, count in asked.items()}
    return [Planned(name, ROWS[name], list(photos[:most])) for name, most in mosts.items()]


def asked_for(names: Sequence[str]) -> dict[str, int | None]:
    """The rows' names and the numbers of photos; without `:N` no number.

    Raises ConfigError for a name that is no attack, one that comes twice, and a number that is none.
    """
    asked: dict[str, int | None] = {}
    for text in names:
        name, count = _parsed(text)
        if name in asked:
            raise ConfigError(f"--attacks names {name} twice; give it once, as {name} or {name}:N")
        asked[name] = count
    return asked


def _parsed(text: str) -> tuple[str, int | None]:
    """`spatial:100` -> the row's name and the number of photos."""
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
