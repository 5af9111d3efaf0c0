"""What every row of the table works with: the subject, the photos streamed from disk, the seeds, the worst pictures.

P photos of a chunk, K variants of each, S side.
"""

import hashlib
import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attack.evaluation import scoring
from attack.evaluation.subject import Subject
from attack.gradient.objective import objective, split
from attack.surrogate import Surrogate
from attack.transforms.pixels import to_pixels, to_tensor
from model.console import Report
from model.photos import Photo
from model.pixels import Pixels, load_square

SHOTS_PER_ROW = 6
Variant = TypeVar("Variant")


@dataclass(frozen=True)
class Shot:
    """A picture worth a look: what was attacked, what came of it, what the subject made of it."""

    photo: str
    label: int
    note: str
    before: Pixels
    """(S, S, 3)"""
    after: Pixels
    """(S, S, 3)"""
    logits: tuple[float, float]


class Gallery:
    """Keeps the few worst mistakes: the most confident ones."""

    def __init__(self, most: int = SHOTS_PER_ROW) -> None:
        self.most = most
        self._heap: list[tuple[float, str, Shot]] = []

    def wants(self, badness: float) -> bool:
        """Whether a mistake of this confidence would be kept."""
        return len(self._heap) < self.most or badness > self._heap[0][0]

    def add(self, badness: float, shot: Shot) -> None:
        """Keep the shot if it is among the worst."""
        if self.wants(badness):
            heapq.heappush(self._heap, (badness, shot.photo, shot))
            del self._heap[: max(0, len(self._heap) - self.most)]
            heapq.heapify(self._heap)

    @property
    def shots(self) -> list[Shot]:
        """Worst first."""
        return [shot for *_, shot in sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))]


@dataclass
class Result:
    """What one attack did to the photos: the logits of each photo's final picture, in the order of `photos`."""

    photos: list[Photo]
    logits: npt.NDArray[np.float32]
    """(N, 2); behind an endpoint, votes."""
    shots: list[Shot] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)
    """Figures of this attack's own, for plots."""


class Chunk(NamedTuple):
    """P photos, loaded."""

    photos: list[Photo]
    pixels: Pixels
    """uint8 (P, S, S, 3)"""
    y: Tensor
    """(P,) labels"""


class Session:
    """One evaluation: who is asked, about what, with which seed, and what the attacker has of its own."""

    def __init__(self, subject: Subject, seed: int, surrogate: Surrogate | None = None) -> None:
        self.subject, self.seed, self.surrogate = subject, seed, surrogate

    @property
    def size(self) -> int:
        """Side S in pixels of the pictures the subject is shown."""
        return self.subject.input_size

    def seed_of(self, photo: Photo, purpose: str) -> int:
        """A photo's own seed for one purpose, whatever else is evaluated."""
        digest = hashlib.sha256(os.fsencode(f"{self.seed} {photo.name} {purpose}")).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def chunks(self, photos: Sequence[Photo], most: int | None = None, size: int | None = None) -> Iterator[Chunk]:
        """Photos from disk, so many at a time: memory does not grow with their number."""
        step = most or self.subject.pool
        for start in range(0, len(photos), step):
            part = list(photos[start : start + step])
            pixels = np.stack([load_square(photo.path, size or self.size) for photo in part])
            yield Chunk(part, pixels, torch.tensor([photo.label for photo in part]))

    def tensor(self, chunk: Chunk) -> Tensor:
        """(P, 3, S, S) in [0, 1] on the subject's device."""
        return to_tensor(chunk.pixels, self.subject.device)

    def wrong(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,) which of these (N, 2) answers are wrong; behind an endpoint an abstention is not."""
        if self.subject.sees_logits:
            return torch.from_numpy(scoring.wrong(logits.numpy(), y.numpy()))
        return objective(logits, y) > 0

    def badness(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,) how bad an answer is: the wrong logit, as confidence; minus infinity where the answer is not wrong.

        Plus infinity where it is wrong for not being finite.
        """
        _, wrong_logit = split(logits, y)
        wrong_logit = wrong_logit.where(logits.isfinite().all(dim=1), torch.inf)
        return wrong_logit.where(self.wrong(logits, y), -torch.inf)

    def ask_in_full_batches(self, pictures: Iterable[Tensor]) -> Tensor:
        """Any number of (M, 3, S, S) -> (sum of M, 2): asked as they come, as many at a time as go together."""
        batch, answers = self.subject.pool, []
        waiting: Tensor | None = None
        for some in pictures:
            waiting = some if waiting is None else torch.cat([waiting, some])
            while len(waiting) >= batch:
                answers.append(self.subject.logits(waiting[:batch]))
                waiting = waiting[batch:]
        if waiting is not None and len(waiting):
            answers.append(self.subject.logits(waiting))
        return torch.cat(answers)


class Variants(Protocol[Variant]):
    """A list of variants of a photo, and how to make them."""

    @property
    def variants(self) -> Sequence[Variant]:
        """All K of them, in order."""

    def prepare(self, chunk: Chunk) -> Tensor:
        """What all variants of a chunk start from."""

    def render(self, base: Tensor, photos: Sequence[Photo], variant: Variant) -> Tensor:
        """(P, 3, S, S) pictures of one variant."""

    def rank(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N, 2) logits and (N,) labels -> (N,): of a photo's variants the one with the first largest is worst."""

    def note(self, logits: Tensor, y: Tensor) -> None:
        """See the (P, K, 2) logits and (P,) labels of a chunk."""


def worst_variants(session: Session, photos: Sequence[Photo], of: Variants[Variant], report: Report) -> Result:
    """Show every photo in every variant and keep, photo by photo, the worst; of the pictures only a few."""
    gallery, kept, done = Gallery(), [], 0
    for chunk in session.chunks(photos):
        base = of.prepare(chunk)
        answers = session.ask_in_full_batches(_rendered(base, chunk, of, report, done))
        logits = answers.view(len(of.variants), len(chunk.photos), 2).transpose(0, 1)
        ranks = of.rank(logits.reshape(-1, 2), chunk.y.repeat_interleave(len(of.variants)))
        best = ranks.view(len(chunk.photos), -1).argmax(dim=1)
        worst = logits[torch.arange(len(best)), best]
        of.note(logits, chunk.y)
        for index, value in enumerate(session.badness(worst, chunk.y).tolist()):
            if value > -np.inf and gallery.wants(value):
                variant = of.variants[int(best[index])]
                after = of.render(base[index : index + 1], chunk.photos[index : index + 1], variant)
                gallery.add(value, shot_of(chunk, index, str(variant), after, worst[index]))
        kept.append(worst.numpy())
        done += len(chunk.photos)
    return Result(list(photos), np.concatenate(kept), gallery.shots)


def _rendered(base: Tensor, chunk: Chunk, of: Variants[Variant], report: Report, done: int) -> Iterator[Tensor]:
    for number, variant in enumerate(of.variants, start=1):
        yield of.render(base, chunk.photos, variant)
        report(round(done + len(chunk.photos) * number / len(of.variants), 2))


def shot_of(chunk: Chunk, index: int, note: str, after: Tensor, logits: Tensor) -> Shot:
    """A shot of a chunk's photo; `after` is (1, 3, S, S), `logits` (2,)."""
    photo = chunk.photos[index]
    pair = (float(logits[0]), float(logits[1]))
    return Shot(photo.name, photo.label, note, chunk.pixels[index], to_pixels(after)[0], pair)
