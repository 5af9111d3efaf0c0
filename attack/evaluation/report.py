"""From the rows' results to `report.json`: scores, the worst of all rows, and all that is needed to repeat the run.

N photos of a row.
"""

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict

from attack.evaluation import scoring
from attack.evaluation.protocol import Profile
from attack.evaluation.session import Result, Session
from attack.evaluation.subject import Subject, read_votes
from attack.gradient.objective import objective
from model.labels import ABSTAIN
from model.photos import Photo, trouble_with

COVERAGE = 0.8
REPORT_VERSION = 1
COSTS = frozenset({"seconds", "queries", "repeats", "repeats_differing"})
"""What a row says of its course, and not of the model's answers."""


class EvaluationSettings(BaseModel):
    """What decides a run, beside the photos and the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bundle", "endpoint", "callable"]
    """What is evaluated."""
    reference: str
    """The bundle's folder, the endpoint's URL or the TOML that describes it, or `module:function`."""
    images: str
    """The folder with bicycle/ and bird/."""
    attacks: tuple[str, ...] | None = None
    """Names of rows; none: the profile's."""
    profile: Profile = "full"
    limit: int | None = None
    """At most so many photos, balanced over the classes."""
    seed: int = 0
    size: int | None = None
    """Side in pixels; none: the model's own."""
    device: str = "auto"
    surrogates: tuple[str, ...] = ()
    """Folders of bundles of the attacker's own, whose gradients guide the label-only walks."""


@dataclass
class Scored:
    """A row that has run."""

    name: str
    title: str
    result: Result
    seconds: float = 0.0
    queries: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)


def entry(scored: Scored, subject: Subject) -> dict[str, Any]:
    """One element of `attacks` in the report."""
    labels = np.array([photo.label for photo in scored.result.photos])
    return {
        "name": scored.name,
        "title": scored.title,
        "n": len(labels),
        **scores(scored.result.logits, labels, subject),
        "seconds": round(scored.seconds, 3),
        "queries": scored.queries,
        **scored.result.detail.get("repeats", {}),
        "parameters": scored.parameters,
    }


def scores(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], subject: Subject) -> dict[str, Any]:
    """The scores of a row. Behind an endpoint `covered_at_80` is what it did not abstain on."""
    if not subject.sees_logits:
        return _scores_of_answers(read_votes(logits), labels)
    at_80, at_100 = (scoring.score_by_kit(logits, labels, coverage) for coverage in (COVERAGE, 1.0))
    tie_aware = scoring.score_tie_aware(logits, labels, COVERAGE)
    fields = {
        "coverage_by": "confidence",
        "covered_at_80": at_80.covered,
        "errors_at_80": at_80.errors,
        "accuracy_at_80": at_80.accuracy,
        "interval_at_80": list(at_80.interval),
        "covered_at_100": at_100.covered,
        "errors_at_100": at_100.errors,
        "accuracy_at_100": at_100.accuracy,
        "interval_at_100": list(at_100.interval),
        "tie_aware_at_80": {
            "covered": tie_aware.covered,
            "errors": [tie_aware.errors_low, tie_aware.errors_high],
            "accuracy": tie_aware.accuracy,
        },
        "curve": [[round(coverage, 6), round(risk, 6)] for coverage, risk in scoring.risk_coverage(logits, labels)],
    }
    if subject.abstain_below is not None:
        fixed = scoring.score_at_threshold(logits, labels, subject.abstain_below)
        fields["at_threshold"] = {"covered": fixed.covered, "errors": fixed.errors, "accuracy": fixed.accuracy}
    return fields


def _scores_of_answers(answers: Sequence[str], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """An abstention counts as not right where everything has to be covered."""
    given = scoring.score_answers(answers, labels)
    not_right = given.errors + sum(answer == ABSTAIN for answer in answers)
    everything = scoring.Score(len(labels), not_right)
    return {
        "coverage_by": "abstain",
        "covered_at_80": given.covered,
        "errors_at_80": given.errors,
        "accuracy_at_80": given.accuracy,
        "interval_at_80": list(given.interval),
        "covered_at_100": everything.covered,
        "errors_at_100": everything.errors,
        "accuracy_at_100": everything.accuracy,
        "interval_at_100": list(everything.interval),
        "curve": [],
    }


def worst_of_all(rows: Sequence[Scored], session: Session) -> Scored:
    """Photo by photo the row that did most harm: a mistake with the largest wrong logit, else the largest margin.

    Of the photos that every row saw: one that the strong rows left out would look harder to fool than it is.
    """
    seen = set.intersection(*(set(row.result.photos) for row in rows))
    photos = [photo for photo in rows[0].result.photos if photo in seen]
    y = torch.tensor([photo.label for photo in photos])
    logits = [torch.from_numpy(_logits_of(row.result, photos)) for row in rows]
    harms = [list(zip(session.badness(x, y).tolist(), objective(x, y).tolist(), strict=True)) for x in logits]
    worst = [max(range(len(rows)), key=lambda row: harms[row][place]) for place in range(len(photos))]
    chosen = np.array([logits[row][place].numpy() for place, row in enumerate(worst)])
    return Scored("worst", "worst of all rows, on the photos that all of them saw", Result(photos, chosen))


def _logits_of(result: Result, photos: Sequence[Photo]) -> npt.NDArray[np.float32]:
    """(P, 2) of these photos."""
    places = {photo: place for place, photo in enumerate(result.photos)}
    return result.logits[[places[photo] for photo in photos]]


def photo_records(rows: Sequence[Scored], photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """Every photo with its logits in every row, rounded to what float32 holds."""
    records = {photo.name: {"photo": photo.name, "label": photo.label, "logits": {}} for photo in photos}
    for row in rows:
        for photo, logits in zip(row.result.photos, row.result.logits, strict=True):
            logits_of: dict[str, Any] = records[photo.name]["logits"]  # type: ignore[assignment]
            logits_of[row.name] = [_json_number(value) for value in logits]
    return list(records.values())


def _json_number(value: np.float32) -> float | None:
    return float(f"{value:.9g}") if np.isfinite(value) else None


def same_table(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The names of rows whose scores differ between two reports, by every figure but time and queries."""
    rows_of = [{row["name"]: _table_part(row) for row in report["attacks"]} for report in (old, new)]
    names = dict.fromkeys([*rows_of[0], *rows_of[1]])
    return [name for name in names if rows_of[0].get(name) != rows_of[1].get(name)]


def changed_inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a repeated run did not find as it was: the photos, the weights of the model and of the surrogates."""
    names = ("photos", "weights", "surrogates")
    before, after = (
        (report["photos"]["sha256"], report["model"]["sha256"], report.get("surrogates", [])) for report in (old, new)
    )
    return [name for name, was, is_now in zip(names, before, after, strict=True) if was != is_now]


def _table_part(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in COSTS}


def photos_digest(photos: Sequence[Photo]) -> str:
    """Hex SHA-256 over the names and the bytes of the photos; what cannot be opened has no bytes."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(os.fsencode(photo.name) + b"\0")
        content = b""
        with suppress(OSError):  # nor has one that has gone, or is not ours to read
            content = b"" if trouble_with(photo.path) else photo.path.read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def environment(device: torch.device) -> dict[str, Any]:
    """What the run ran on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        "gpu": gpu,
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
    }
