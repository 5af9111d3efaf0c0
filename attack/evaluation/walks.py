"""The rows that walk by labels alone: the kit's boundary attack, and the strongest such attack on a short budget.

D values of a picture, S side. They run on the generators of `attack.decision`, pooled by the scheduler of `attack`;
every probe is an 8-bit picture. The attacks see labels; the logits of what they end with are for the score alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attack.decision import ATTACKS, WITH_SURROGATE
from attack.decision.boundary import BoundaryParameters
from attack.decision.problem import Attack, Problem, distances
from attack.evaluation.searches import mapped
from attack.evaluation.session import Chunk, Gallery, Result, Session, Shot
from attack.evaluation.subject import Subject
from attack.scheduler import Scheduler
from attack.starts import Starts
from attack.track import Outcome, Plan, Track
from attack.transforms.pixels import to_pixels, to_tensor
from attack.transforms.spatial import KIT_SIZE
from model.console import Report, say
from model.errors import DataError
from model.labels import CLASSES
from model.photos import Photo
from model.pixels import Pixels, load_square

KIT_L2 = 10.0
"""The kit's limit on 224 x 224 pictures in [0, 1]."""
KIT_QUERIES = BoundaryParameters().queries
"""The kit's attack asks no more often."""
PUSHES = (1.0, 0.75, 0.5, 0.25)
"""Parts of the way from the nearest wrong answer out to the limit that are asked at the end."""
SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Walk:
    """Which attack walks, on how many queries a photo, and what becomes of what it finds."""

    attack: str
    queries: int
    kit: bool = False
    """The kit's protocol: the walk ends once it is within the limit. A picture that just crosses the boundary has
    hardly any confidence. Else what is found is pushed on to the limit."""
    enough: float = 0.0
    """Without the kit's protocol: a share of the limit within which no more queries are spent on a nearer picture."""

    @property
    def steps(self) -> int:
        """Queries of the walk itself."""
        return self.queries if self.kit else max(1, self.queries - len(PUSHES))

    def course(self, problem: Problem, limit: float) -> Attack:
        """The attack on one photo."""
        walk = ATTACKS[self.attack](problem)
        end = limit if self.kit else self.enough * limit
        return _until(walk, end, problem) if end else walk


def max_l2(size: int) -> float:
    """The kit's limit at side S: the same root mean square per value as 10 at 224."""
    return KIT_L2 * size / KIT_SIZE


class SubjectOracle:
    """A subject as the scheduler wants it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.input_size, self.max_slots = subject.input_size, subject.max_slots

    @property
    def max_batch(self) -> int:
        """Pictures per request; it may fall."""
        return self.subject.max_batch

    @property
    def slots(self) -> int:
        """Requests that it bears at the moment."""
        return self.subject.slots

    def labels(self, pixels: Pixels) -> list[str]:
        """uint8 (N, S, S, 3) -> N labels."""
        return self.subject.labels(pixels)

    def label_of_png(self, png: bytes) -> str:
        """A PNG as a user would send it."""
        return self.labels(load_square(png, self.input_size)[None])[0]


def run_walk(session: Session, photos: Sequence[Photo], report: Report, pool: Sequence[Photo], walk: Walk) -> Result:
    """Walk from a photo of the other class, drawn from `pool`, towards each mapped photo; judge the end by its logits.

    What ends beyond the limit is projected onto the ball.
    """
    limit = max_l2(session.size)
    starts = Starts(pool, session.size)
    tracks = (_track(session, chunk, starts, walk, limit) for chunk in session.chunks(photos, most=1))
    places = {photo.name: place for place, photo in enumerate(photos)}
    logits = np.zeros((len(photos), 2), np.float32)
    gallery, at_the_limit = Gallery(), dict[str, Shot]()
    oracle = SubjectOracle(session.subject)
    scheduler = Scheduler(oracle, max_active=max(SIDE_BY_SIDE, session.subject.batch))
    records = []
    done = 0

    def show() -> None:
        report(done, queries=f"{session.subject.queries:,}")

    for track in scheduler.run(tracks, show):
        outcome = track.outcome
        if outcome.refusal is not None:  # a photo that was not attacked must not count as one that withstood
            raise outcome.refusal
        photo = photos[places[outcome.name]]
        final = _final(outcome, limit) if walk.kit else to_tensor(_pushed(oracle, outcome, limit)[None])
        answer = session.subject.logits(final)
        logits[places[photo.name]] = answer[0].numpy()
        _show(session, gallery, photo, outcome, final, answer)
        if places[photo.name] < gallery.most and outcome.adversarial is not None:
            at_the_limit[photo.name] = _shot_at(session, photo, outcome, limit)
        records.append(_record(outcome))
        done += 1
    report(done)
    records.sort(key=lambda record: places[str(record["photo"])])
    detail = {"max_l2": limit, "walks": records, "at_the_limit": list(at_the_limit.values())}
    detail["repeats"] = _repeats(records)
    return Result(list(photos), logits, gallery.shots, detail)


def _record(outcome: Outcome) -> dict[str, Any]:
    return {
        "photo": outcome.name,
        "l2": outcome.l2,
        "queries": outcome.queries,
        "repeats": outcome.repeats,
        "repeats_differing": outcome.differing,
    }


def _repeats(records: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Over all walks, the pictures asked again, and those answered otherwise than before: a warning where there are."""
    counts = {key: sum(record[key] for record in records) for key in ("repeats", "repeats_differing")}
    if counts["repeats_differing"]:
        again = f"{counts['repeats_differing']} of {counts['repeats']} repeated pictures"
        say(f"warning: {again} were answered otherwise than before: the answers are not deterministic")
    return counts


def _track(session: Session, chunk: Chunk, starts: Starts, walk: Walk, limit: float) -> Track:
    (photo,) = chunk.photos
    pixels = to_pixels(mapped(session, chunk))[0]
    rng = np.random.default_rng(session.seed_of(photo, walk.attack))
    others = partial(_others, starts, photo.label, int(rng.integers(2**32)))
    surrogate = session.surrogate if walk.attack in WITH_SURROGATE else None
    gradient = None if surrogate is None else surrogate.against(photo.label, session.size)
    problem = Problem(pixels.astype(np.float32).ravel(), session.size, rng, others, walk.steps, gradient)
    plan = Plan(pixels, None, None, partial(walk.course, limit=limit), problem, attack_abstained=True)
    return Track(Outcome(photo.name, CLASSES[photo.label]), plan)


def _others(starts: Starts, label: int, seed: int) -> Iterator[Pixels]:
    yield from starts.against(label, seed)
    if not starts.readable_against(label):
        raise DataError(f"no photo of the class {CLASSES[1 - label]} can be read; walks start from one")


def _until(walk: Attack, limit: float, problem: Problem) -> Attack:
    """The walk, ended once a wrongly answered probe lies within `limit` in [0, 1] units."""
    probes = next(walk, None)
    while probes is not None:
        hits = yield probes
        if hits.any() and float(distances(problem, probes[hits]).min()) <= limit * 255:
            walk.close()
            return
        try:
            probes = walk.send(hits)
        except StopIteration:
            return


def _final(outcome: Outcome, limit: float) -> Tensor:
    """(1, 3, S, S) what the kit would show the model: the walk's end, brought onto the ball if it lies beyond."""
    assert outcome.original is not None
    original = to_tensor(outcome.original[None])
    if outcome.adversarial is None or outcome.l2 is None:
        return original
    offset = to_tensor(outcome.adversarial[None]) - original
    return original + offset * min(1.0, limit / max(outcome.l2, 1e-12))


def _pushed(oracle: SubjectOracle, outcome: Outcome, limit: float) -> Pixels:
    """(S, S, 3) what the walk's direction is worth: the farthest picture within the limit that is answered wrongly.

    Where the boundary lies beyond the limit, the picture at the limit; where none was needed or found, the original.
    """
    assert outcome.original is not None
    if outcome.adversarial is None or outcome.l2 is None:
        return outcome.original
    if outcome.l2 >= limit:
        return _at_most(outcome, limit)
    pushed = np.stack([_at_most(outcome, outcome.l2 + part * (limit - outcome.l2)) for part in PUSHES])
    outcome.queries += len(pushed)
    wrong = CLASSES[1 - CLASSES.index(outcome.label)]
    found = (picture for picture, label in zip(pushed, oracle.labels(pushed), strict=True) if label == wrong)
    return next(found, outcome.adversarial)


def _at_most(outcome: Outcome, reach: float) -> Pixels:
    """(S, S, 3) the farthest 8-bit picture from the original through the adversarial with an L2 of at most `reach`.

    Values stop at 0 and 255, so that the line may have to be followed farther than `reach`.
    """
    assert outcome.original is not None
    assert outcome.adversarial is not None
    assert outcome.l2 is not None
    original = outcome.original.astype(np.float32)
    way = outcome.adversarial - original
    low, high = 0.0, 2 * max(1.0, reach / max(outcome.l2, 1e-12))
    for _ in range(20):  # the distance never falls along the line, rounded or not
        middle = (low + high) / 2
        offset = np.rint((original + middle * way).clip(0, 255)) - original
        inside = float(np.linalg.norm(offset)) <= reach * 255
        low, high = (middle, high) if inside else (low, middle)
    picture: Pixels = np.rint((original + low * way).clip(0, 255)).astype(np.uint8)
    return picture


def _shot_at(session: Session, photo: Photo, outcome: Outcome, limit: float) -> Shot:
    """The walk's direction at exactly the limit, so that two models can be looked at with equal L2."""
    assert outcome.original is not None
    assert outcome.adversarial is not None
    assert outcome.l2 is not None
    original = to_tensor(outcome.original[None])
    offset = to_tensor(outcome.adversarial[None]) - original
    at_limit = (original + offset * (limit / max(outcome.l2, 1e-12))).clamp(0, 1)
    logits = session.subject.logits(at_limit)[0]
    note = f"L2 {limit:.2f}; the boundary was met at {outcome.l2:.2f}"
    pair = (float(logits[0]), float(logits[1]))
    return Shot(photo.name, photo.label, note, outcome.original, to_pixels(at_limit)[0], pair)


def _show(session: Session, gallery: Gallery, photo: Photo, outcome: Outcome, final: Tensor, answer: Tensor) -> None:
    badness = float(session.badness(answer, torch.tensor([photo.label]))[0])
    if badness > -np.inf and outcome.original is not None:
        distance = "none was needed" if outcome.l2 is None else f"L2 {outcome.l2:.2f}"
        note = f"{distance}, {outcome.queries} queries"
        pair = (float(answer[0, 0]), float(answer[0, 1]))
        gallery.add(badness, Shot(photo.name, photo.label, note, outcome.original, to_pixels(final)[0], pair))
