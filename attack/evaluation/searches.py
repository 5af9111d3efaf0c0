"""The rows that search in a ball about the photo under a random spatial map: SPSA, PGD, APGD, Square, label-only walks.

P photos of a chunk, S side. The map is drawn once a photo and is the same for every row of one seed.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from attack.draws import Draws
from attack.evaluation.session import Chunk, Gallery, Result, Session, shot_of
from attack.gradient.objective import Attacked
from attack.gradient.pool import run_pooled
from attack.gradient.spsa import SPSA, Task, spsa
from attack.transforms.spatial import SpatialRange, apply_maps, draw_maps
from model.console import Report
from model.photos import Photo

Search = Callable[[Tensor, Tensor, Sequence[int]], Attacked]
"""(P, 3, S, S) pictures, (P,) labels and a seed each -> the strongest pictures found."""


def random_maps(session: Session, photos: Sequence[Photo]) -> Tensor:
    """(P, 3): one map of the warm-up's span a photo."""
    draws = [Generator().manual_seed(session.seed_of(photo, "spatial map")) for photo in photos]
    return torch.cat([draw_maps(1, SpatialRange(), generator=generator) for generator in draws])


def mapped(session: Session, chunk: Chunk) -> Tensor:
    """(P, 3, S, S) photos of a chunk, each under its random map."""
    x = session.tensor(chunk)
    return apply_maps(x, random_maps(session, chunk.photos).to(x))


def run_spsa(session: Session, photos: Sequence[Photo], report: Report, settings: SPSA) -> Result:
    """SPSA on each photo; as many side by side as fill the batches."""
    places = {photo.name: place for place, photo in enumerate(photos)}
    logits = torch.zeros(len(photos), 2)
    gallery = Gallery()
    done = 0

    def ask(x: Tensor) -> Tensor:
        report(done, queries=f"{session.subject.queries:,}")
        return session.subject.logits_there(x)

    for photo, found in run_pooled(_spsa_tasks(session, photos, settings), ask, session.subject.batch):
        answer = session.subject.logits(found[None])
        logits[places[photo.name]] = answer[0]
        chunk = next(session.chunks([photo]))
        _show(session, gallery, chunk, found[None], answer, "SPSA")
        done += 1
    report(done)
    return Result(list(photos), logits.numpy(), gallery.shots)


def _spsa_tasks(session: Session, photos: Sequence[Photo], settings: SPSA) -> Iterator[tuple[Photo, Task]]:
    for chunk in session.chunks(photos, most=1):
        (photo,) = chunk.photos
        generator = Generator(session.subject.device).manual_seed(session.seed_of(photo, "spsa"))
        yield photo, spsa(mapped(session, chunk)[0], photo.label, generator, settings)


def run_search(
    session: Session, photos: Sequence[Photo], report: Report, name: str, search: Search, most: int | None = None
) -> Result:
    """A batched attack on chunk after chunk, `most` photos together."""
    gallery, kept, done = Gallery(), [], 0
    for chunk in session.chunks(photos, most=most):
        seeds = [session.seed_of(photo, name) for photo in chunk.photos]
        found = search(mapped(session, chunk), chunk.y.to(session.subject.device), seeds)
        logits = session.subject.logits(found.x)
        _show(session, gallery, chunk, found.x, logits, name)
        kept.append(logits.numpy())
        done += len(chunk.photos)
        report(done)
    return Result(list(photos), np.concatenate(kept), gallery.shots)


def flat(session: Session, photos: Sequence[Photo]) -> int:
    """Of how many of the photos the margin is the same, bit for bit, under noise as long as SPSA's: as of a label."""
    chunk = next(session.chunks(photos))
    x = session.tensor(chunk)
    noise = Draws([session.seed_of(photo, "flat") for photo in chunk.photos], x.device).uniform(*x.shape[1:])
    before, after = (session.subject.logits(one) for one in (x, (x + SPSA().delta * (2 * noise - 1)).clamp(0, 1)))
    return int((before.diff() == after.diff()).sum())


def _show(session: Session, gallery: Gallery, chunk: Chunk, x: Tensor, logits: Tensor, note: str) -> None:
    """Offer a chunk's mistakes to the gallery."""
    for index, value in enumerate(session.badness(logits, chunk.y).tolist()):
        if value > -np.inf:
            gallery.add(value, shot_of(chunk, index, note, x[index : index + 1], logits[index]))
