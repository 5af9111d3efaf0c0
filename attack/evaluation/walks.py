"""The rows that walk by labels alone: the kit's boundary attack, and the strongest such attack on a short budget.

D values of a picture, S side. They run on the generators of `attack.decision`, pooled by the scheduler of `attack`;
every probe is an 8-bit picture.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from attack.decision import ATTACKS
from attack.decision.problem import Attack, Problem, distances
from attack.evaluation.searches import mapped
from attack.evaluation.session import Chunk, Gallery, Result, Session, Shot
from attack.evaluation.subject import EndpointSubject, Subject, to_pixels, to_tensor
from attack.scheduler import Scheduler
from attack.spatial import KIT_SIZE
from attack.track import Outcome, Plan, Track
from model.console import Report
from model.labels import CLASSES
from model.photos import Photo
from model.pixels import Pixels, load_square

KIT_L2 = 10.0
"""The kit's limit on 224 x 224 pictures in [0, 1]."""
KIT_QUERIES = 137_500
"""5,000 steps of 25 directions, and the spherical probes of every tenth step: the kit's attack asks no more often."""
SIDE_BY_SIDE = 8


def max_l2(size: int) -> float:
    """The kit's limit at side S: the same root mean square per value as 10 at 224."""
    return KIT_L2 * size / KIT_SIZE


class SubjectOracle:
    """A subject as the scheduler wants it. In this process the answer is the larger logit's class, as in the kit."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.input_size, self.max_batch, self.identity = subject.input_size, subject.batch, subject.identity
        self.slots = self.max_slots = subject.parallel

    def labels(self, pixels: Pixels) -> list[str]:
        """uint8 (N, S, S, 3) -> N labels."""
        if isinstance(self.subject, EndpointSubject):
            self.subject.queries += len(pixels)
            return self.subject.labels(pixels)
        logits = self.subject.logits(to_tensor(pixels))
        return [CLASSES[int(bird > bicycle)] for bicycle, bird in logits.tolist()]

    def label_of_png(self, png: bytes) -> str:
        """A PNG as a user would send it."""
        return self.labels(load_square(png, self.input_size)[None])[0]


def run_walk(
    session: Session, photos: Sequence[Photo], report: Report, pool: Sequence[Photo], attack: str, queries: int
) -> Result:
    """Walk from a photo of the other class, drawn from `pool`, towards each mapped photo.

    A walk ends as soon as it is within the limit, as the kit's does; what ends farther away is projected onto the ball.
    """
    limit = max_l2(session.size)
    tracks = (_track(session, chunk, pool, attack, queries, limit) for chunk in session.chunks(photos, most=1))
    places = {photo.name: place for place, photo in enumerate(photos)}
    logits = np.zeros((len(photos), 2), np.float32)
    gallery, at_the_limit = Gallery(), dict[str, Shot]()
    scheduler = Scheduler(SubjectOracle(session.subject), max_active=max(SIDE_BY_SIDE, session.subject.batch))
    records = []
    done = 0

    def show() -> None:
        report(done, queries=f"{session.subject.queries:,}")

    for track in scheduler.run(tracks, show):
        if track.outcome.refusal is not None:  # a photo that was not attacked must not count as one that withstood
            raise track.outcome.refusal
        photo = photos[places[track.outcome.name]]
        final = _final(track.outcome, limit)
        answer = session.subject.logits(final)
        logits[places[photo.name]] = answer[0].numpy()
        _show(session, gallery, photo, track.outcome, final, answer)
        if places[photo.name] < gallery.most and track.outcome.adversarial is not None:
            at_the_limit[photo.name] = _shot_at(session, photo, track.outcome, limit)
        records.append({"photo": photo.name, "l2": track.outcome.l2, "queries": track.outcome.queries})
        done += 1
    report(done)
    records.sort(key=lambda record: places[str(record["photo"])])
    detail = {"max_l2": limit, "walks": records, "at_the_limit": list(at_the_limit.values())}
    return Result(list(photos), logits, gallery.shots, detail)


def _track(session: Session, chunk: Chunk, pool: Sequence[Photo], attack: str, queries: int, limit: float) -> Track:
    (photo,) = chunk.photos
    pixels = to_pixels(mapped(session, chunk))[0]
    rng = np.random.default_rng(session.seed_of(photo, attack))
    others = partial(
        _others, session, [other for other in pool if other.label != photo.label], int(rng.integers(2**32))
    )
    problem = Problem(pixels.astype(np.float32).ravel(), session.size, rng, others, queries)
    return Track(
        Outcome(photo.name, CLASSES[photo.label]), Plan(pixels, None, None, partial(_until, attack, limit), problem)
    )


def _until(attack: str, limit: float, problem: Problem) -> Attack:
    """The attack, ended once a wrongly answered probe lies within `limit` in [0, 1] units."""
    walk = ATTACKS[attack](problem)
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


def _others(session: Session, pool: Sequence[Photo], seed: int) -> Iterator[Pixels]:
    for place in np.random.default_rng(seed).permutation(len(pool)):
        yield load_square(pool[place].path, session.size).ravel()


def _final(outcome: Outcome, limit: float) -> Tensor:
    """(1, 3, S, S) what the kit would show the model: the walk's end, brought onto the ball if it lies beyond."""
    assert outcome.original is not None
    original = to_tensor(outcome.original[None])
    if outcome.adversarial is None or outcome.l2 is None:
        return original
    offset = to_tensor(outcome.adversarial[None]) - original
    return original + offset * min(1.0, limit / max(outcome.l2, 1e-12))


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
