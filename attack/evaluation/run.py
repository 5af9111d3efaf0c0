"""Runs an evaluation: opens the subject, estimates the time, runs the rows, writes `report.json` and the page."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from attack.evaluation import at_the_limit
from attack.evaluation.folder import held
from attack.evaluation.protocol import ROWS, Planned, asked_for, gradient_batch, plan, runs_on
from attack.evaluation.rehearsal import rehearsed
from attack.evaluation.report import (
    COVERAGE,
    REPORT_VERSION,
    EvaluationSettings,
    Scored,
    entry,
    environment,
    photo_records,
    photos_digest,
    worst_of_all,
)
from attack.evaluation.searches import flat
from attack.evaluation.session import Session
from attack.evaluation.subject import BundleSubject, CallableSubject, EndpointSubject, Subject
from attack.gradient.balls import gradient_of
from attack.oracle import open_client
from attack.surrogate import Surrogate
from model.console import progress, say
from model.errors import ConfigError, DataError
from model.files import write_json
from model.photos import Photo, find_photos

MEASURE_S = 2.0
"""The rate is measured for about so long before the estimate."""
MEASURED_PART = 16
"""Behind an endpoint, on no more pictures together than the dearest row asks, divided by this."""
FLAT_PHOTOS: Final = 8
"""So many are looked at to see whether logits are any."""
UNFINISHED: Final = "was not finished when this report was written"


def evaluate(settings: EvaluationSettings, out: Path, beside: Path | None = None) -> dict[str, Any]:
    """Run everything the settings ask for; write `report.json`, `index.html` and pictures into `out`.

    The report is on disk after every row, and the page is drawn even if a row fails or the user ends it: what was
    finished is not lost.
    """
    from attack.evaluation.page import read_report, write_page  # noqa: PLC0415  (the page is drawn last)

    photos = all_photos(Path(settings.images), settings.seed)
    chosen = photos[: settings.limit]
    asked_for(settings.attacks or ())  # a slip of the pen should not wait for the model to load
    if beside is not None:
        read_report(beside)  # nor a wrong path until the page is made
        if out.exists() and out.samefile(beside if beside.is_dir() else beside.parent):
            raise ConfigError(f"--beside {beside}: this run writes over what lies in {out}; give another --out")
    with ExitStack() as stack:
        stack.enter_context(held(out))
        subject = open_subject(settings, stack)
        planned = plan(chosen, settings.profile, settings.attacks, subject.input_size)
        session = Session(subject, settings.seed, open_surrogate(settings, planned))
        warn_of_labels(session, planned)
        dearest = max((one.passes for one in planned if runs_on(one.row, session) is None), default=0)
        announce(session, planned, measured_speed(session, chosen, dearest))
        digest = photos_digest(photos)  # before any is attacked: a row is not lost with a photo that has gone since
        started = time.monotonic()
        rows: list[Scored] = []
        pictures: dict[str, list[dict[str, str]]] = {}
        report: dict[str, Any] | None = None
        try:
            for row in run_rows(session, planned, photos):
                if not rows:
                    at_the_limit.clear(out)
                pictures[row.name] = at_the_limit.save(out, row.name, row.result)
                rows.append(row)
                missing = left_out(session, planned, rows)
                report = build(settings, session, chosen, digest, rows, missing, time.monotonic() - started)
                report[at_the_limit.AT_THE_LIMIT] = pictures
                write_json(out / "report.json", report)
        finally:
            if report is not None:
                write_page(out, report, {row.name: row.result for row in rows}, beside)
    if report is None:
        reasons = "; ".join(f"{row['name']} {row['reason']}" for row in left_out(session, planned, rows))
        raise DataError(f"nothing was left to run: {reasons}")
    return report


def all_photos(folder: Path, seed: int) -> list[Photo]:
    """All photos, drawn in a seeded order in which the classes alternate: any prefix is balanced."""
    return find_photos(folder, limit=10**9, seed=seed)


def open_subject(settings: EvaluationSettings, stack: ExitStack) -> Subject:
    """The subject of the settings. Raises a UserError for what cannot be opened."""
    device = chosen_device(settings.device)
    if settings.kind == "bundle":
        return BundleSubject(Path(settings.reference), device, settings.size)
    if settings.kind == "callable":
        return CallableSubject(settings.reference, settings.size)
    if settings.size is not None:
        raise ConfigError("--size is the endpoint's own; leave it out")
    client = open_client(settings.reference)
    stack.enter_context(client)
    return EndpointSubject(client)


def open_surrogate(settings: EvaluationSettings, planned: Sequence[Planned]) -> Surrogate | None:
    """The networks that guide walks. Raises ConfigError where there is no such walk, BundleError."""
    if not settings.surrogates:
        return None
    if not any(one.row.guided for one in planned):
        guided = ", ".join(name for name, row in ROWS.items() if row.guided)
        raise ConfigError(f"--surrogate guides {guided}; none of them is among the rows to run")
    return Surrogate([Path(bundle) for bundle in settings.surrogates], chosen_device(settings.device))


def chosen_device(name: str) -> str:
    """`auto`, `cpu` or `cuda` -> what there is. Raises ConfigError."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device is {name!r}; it is auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: this machine has no CUDA device that torch can use")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


class Speed(NamedTuple):
    """How fast a subject answers."""

    rate: float
    """Pictures a second, as many together as it is ever asked."""
    request_s: float = 0.0
    """Seconds that an answer to a single picture takes; 0 in this process."""


def measured_speed(session: Session, photos: Sequence[Photo], dearest: int = 0) -> Speed:
    """The speed; the first pictures warm up.

    An endpoint is asked twice, as much side by side as it bears, but a small part of what the `dearest` row asks, and
    then for a single picture.
    """
    subject = session.subject
    together = subject.pool if subject.sees_logits else max(1, min(subject.pool, dearest // MEASURED_PART))
    x = session.tensor(next(session.chunks(photos, together)))
    x = x.repeat(-(-together // len(x)), 1, 1, 1)[:together]
    subject.logits(x)
    started, n = time.monotonic(), 0
    while n == 0 or (subject.sees_logits and time.monotonic() - started < MEASURE_S):
        subject.logits(x)
        n += len(x)
    rate, started = n / (time.monotonic() - started), time.monotonic()
    if not subject.sees_logits:
        subject.logits(x[:1])
    request_s = 0.0 if subject.sees_logits else time.monotonic() - started
    subject.estimate_queries, subject.queries = subject.estimate_queries + subject.queries, 0
    return Speed(rate, request_s)


def warn_of_labels(session: Session, planned: Sequence[Planned]) -> None:
    """Say where what should be logits does not change with the picture: a search that follows it stands still."""
    rows = [one for one in planned if one.row.needs == "logits" and runs_on(one.row, session) is None]
    photos = rows[0].photos[:FLAT_PHOTOS] if rows else []
    if photos and (n_flat := flat(session, photos)):
        names = ", ".join(one.name for one in rows)
        say(
            f"warning: {n_flat} of {len(photos)} photos have the very same logits under noise, as of labels or of "
            f"probabilities that are rounded to 1: {names} cannot follow them and proves little; label-only can"
        )


def announce(session: Session, planned: Sequence[Planned], speed: Speed) -> None:
    """Say what will run and how long it may take."""
    subject = session.subject
    where = f"{subject.input_size} px, {subject.device}"
    say(f"{subject.kind} {subject.reference}, {where}: {speed.rate:.0f} pictures a second")
    total = 0.0
    for one in planned:
        reason = runs_on(one.row, session)
        seconds = 0.0 if reason else expected_s(session, one, speed)
        total += seconds
        cost = f"left out: {reason}" if reason else f"at most about {duration(seconds)}"
        say(f"  {one.name}: {len(one.photos)} photos, {cost}")
    say(f"  in all at most about {duration(total)}; searches that succeed early end early")
    if session.surrogate is not None:
        say("  what the surrogate computes comes on top: a pass forward and back a step")


def expected_s(session: Session, planned: Planned, speed: Speed) -> float:
    """Seconds a row takes at most, about: making the pictures, which may outweigh the answers, is rehearsed.

    A walk of few photos waits for one small request after the other, however many more an endpoint would bear.
    """
    if planned.row.needs == "gradients":
        return planned.passes * _gradient_s(session, planned.photos)
    own_s, together = rehearsed(session, planned)
    waiting_s = speed.request_s / (together * len(planned.photos))
    return planned.passes * (1 / speed.rate + waiting_s + own_s)


def _gradient_s(session: Session, photos: Sequence[Photo]) -> float:
    """Seconds a picture takes forward and backward, in a full batch."""
    model, most = session.subject.differentiable, gradient_batch(session.subject)
    assert model is not None
    x = session.tensor(next(session.chunks(photos, most)))
    x = x.repeat(-(-most // len(x)), 1, 1, 1)[:most].requires_grad_(True)
    for _ in range(2):  # the first warms up
        started = time.monotonic()
        gradient_of(model(x).sum(1), x)
    return (time.monotonic() - started) / most


def duration(seconds: float) -> str:
    """Seconds in words: 12 s, 4.5 min, 3.2 h, 6.1 days."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def run_rows(session: Session, planned: Sequence[Planned], photos: Sequence[Photo]) -> Iterator[Scored]:
    """Run the rows that can run, one after the other."""
    for one in planned:
        if runs_on(one.row, session):
            continue
        before, started = session.subject.queries, time.monotonic()
        with progress(one.name, len(one.photos)) as report:
            result = one.row.run(session, one.photos, report, photos)
        seconds, queries = time.monotonic() - started, session.subject.queries - before
        title, parameters = one.row.described(session)
        row = Scored(one.name, title, result, seconds, queries, parameters)
        found = entry(row, session.subject)
        errors = f"{found['errors_at_80']} of {found['covered_at_80']} covered answers wrong"
        say(f"{one.name}: {errors}, {duration(seconds)}")
        yield row


def left_out(session: Session, planned: Sequence[Planned], rows: Sequence[Scored]) -> list[dict[str, str]]:
    """The planned rows that are not among these, and why."""
    done = {row.name for row in rows}
    return [
        {"name": one.name, "title": one.row.title, "reason": runs_on(one.row, session) or UNFINISHED}
        for one in planned
        if one.name not in done
    ]


def build(
    settings: EvaluationSettings,
    session: Session,
    photos: Sequence[Photo],
    digest: str,
    rows: Sequence[Scored],
    left_out: Sequence[dict[str, str]],
    seconds: float,
) -> dict[str, Any]:
    """The whole report. Its `digest` is of the whole folder: the draw of the photos and the starts come from it."""
    subject = session.subject
    table = [*rows, worst_of_all(rows, session)] if len(rows) > 1 else rows
    return {
        "version": REPORT_VERSION,
        "settings": settings.model_dump(),
        "model": subject.describe(),
        "surrogates": [] if session.surrogate is None else session.surrogate.identities,
        "photos": {"n": len(photos), "sha256": digest},
        "environment": environment(subject.device),
        "coverage": COVERAGE,
        "attacks": [entry(row, subject) for row in table],
        "left_out": list(left_out),
        "seconds": round(seconds, 3),
        "queries": sum(row.queries for row in rows),
        "estimate_queries": session.subject.estimate_queries,
        "corruptions": _detail(rows, "matrix"),
        "grids": _detail(rows, "grid"),
        "walks": _detail(rows, "walks"),
        "images": photo_records(rows, photos),
    }


def _detail(rows: Sequence[Scored], key: str) -> dict[str, Any]:
    return {row.name: row.result.detail[key] for row in rows if key in row.result.detail}
