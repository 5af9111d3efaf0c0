"""One photo under attack: its queries counted, its nearest adversarial kept, its status told.

N probes, D values of a picture, S side.
"""

import zlib
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import xxhash

from attack.decision.problem import Attack, Problem, distances
from model.errors import ConfigError, RefusedError
from model.labels import ABSTAIN, CLASSES
from model.pixels import Pixels

Status = Literal["adversarial", "robust", "misclassified", "abstained", "failed"]
REPEAT_EVERY: Final = 250
MOST_FROM_MEMORY: Final = 200
"""Chunks in a row without a new picture. Where rounding lets it go no further, an attack asks them for ever."""
EARLIER: Final = 3


@dataclass
class Outcome:
    """What came of one photo. Distances are in [0, 1] units at the endpoint's side."""

    name: str
    label: str
    status: Status = "robust"
    reason: str | None = None
    refusal: RefusedError | None = None
    """What the endpoint said when it refused a picture: that ended the attack."""
    queries: int = 0
    """Pictures asked for the attack's sake, the clean one included, each once."""
    repeats: int = 0
    """Pictures asked a second time, to see whether the endpoint answers as before."""
    differing: int = 0
    """Repeats that were answered otherwise."""
    original: Pixels | None = None
    """(S, S, 3) what distances are measured from: the photo, or its spatial map."""
    adversarial: Pixels | None = None
    """(S, S, 3) the nearest picture answered wrongly, also beyond the limit."""
    earlier: deque[Pixels] = field(default_factory=lambda: deque(maxlen=EARLIER))
    """Those that were nearest before it, the latest last."""
    l2: float | None = None
    linf: float | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(queries, l2) whenever the distance fell."""
    spatial: dict[str, float] | None = None
    """The map that was applied first."""

    def refuse(self, error: RefusedError) -> None:
        """The endpoint does not take one of the pictures: no attack can go on."""
        self.status, self.reason, self.refusal = "failed", str(error), error


@dataclass(frozen=True)
class Plan:
    """What is done to a photo: an optional map, then an attack."""

    clean: Pixels
    """(S, S, 3)"""
    mapped: Pixels | None
    spatial: dict[str, float] | None
    attack: Callable[[Problem], Attack]
    problem: Problem
    needs_start: bool = True
    """Whether an attack that finds nothing wrong at all has failed; else the photo is robust to it."""
    attack_abstained: bool = False
    """Whether a photo that is abstained on is attacked all the same: its wrong answer is still to be found."""


class Track:
    """Drives a photo's attack: `pending` pictures are to be asked, `answer` takes their labels.

    Equal probes are asked once. The labels determine everything that follows, so the same labels give the same end.
    Every 250 queries a picture is asked again: an endpoint that answers otherwise is noticed.
    """

    def __init__(self, outcome: Outcome, plan: Plan) -> None:
        self.outcome, self.plan = outcome, plan
        self.side = plan.problem.side
        self.wrong = CLASSES[1 - CLASSES.index(outcome.label)]
        outcome.original = plan.clean if plan.mapped is None else plan.mapped
        outcome.spatial = plan.spatial
        self._known: dict[bytes, str] = {}
        self._keys: list[bytes] = []
        self._asked: list[bytes] = []
        self._expected: str | None = None
        self.clean_answer = outcome.label
        """What the clean photo was answered."""
        self._course = self._run()
        self._take(next(self._course))

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask."""
        return len(self.pending) == 0

    def crc(self) -> int:
        """CRC-32 of the hashes of `pending`: what a journal tells one chunk from another by."""
        return zlib.crc32(b"".join(self._asked), zlib.crc32((self._expected or "").encode()))

    def replay(self, answers: list[tuple[int, list[str]]]) -> None:
        """Take the answers of an earlier run. Raises ConfigError unless they belong to the same probes."""
        for crc, labels in answers:
            if self.done or crc != self.crc() or len(labels) != len(self.pending):
                name = self.outcome.name
                raise ConfigError(f"{name}: the journal holds other probes (another version?); leave out --resume")
            self.answer(labels)

    def answer(self, labels: list[str]) -> None:
        """Take the labels of `pending`, and go on until there is something new to ask or the end is reached."""
        labels = self._without_repeat(labels)
        first = self.outcome.queries
        self._known.update(zip(self._asked, labels, strict=True))
        self.outcome.queries += len(labels)
        self._note_hits(labels, first)
        self._advance()

    def refuse(self, error: RefusedError) -> None:
        """End as failed: the endpoint refuses what is pending."""
        self.outcome.refuse(error)
        self.close()

    def close(self) -> None:
        """Give up what only a running attack needs."""
        self._course.close()
        self._known, self._keys, self._asked = {}, [], []
        self.pending = np.empty((0, self.side, self.side, 3), np.uint8)

    def _advance(self) -> None:
        """Answer chunks from memory as long as they hold nothing new; an attack that asks nothing new any more ends."""
        for _ in range(MOST_FROM_MEMORY):
            if not all(key in self._known for key in self._keys):
                break  # the budget cut the chunk short
            try:
                self._take(self._course.send([self._known[key] for key in self._keys]))
            except StopIteration:
                self.close()
                return
            if not self.done:
                return
        self.close()

    def _take(self, chunk: Pixels) -> None:
        pictures = np.ascontiguousarray(chunk.reshape(-1, self.side, self.side, 3))
        self._keys = [_key(picture) for picture in pictures]
        new = {key: place for place, key in reversed(list(enumerate(self._keys))) if key not in self._known}
        places = sorted(new.values())[: self.plan.problem.budget - self.outcome.queries]
        self._asked = [self._keys[place] for place in places]
        asked = pictures if len(places) == len(pictures) else pictures[places]
        self.pending = self._with_repeat(asked) if places else pictures[:0]

    def _with_repeat(self, pictures: Pixels) -> Pixels:
        if self.outcome.queries // REPEAT_EVERY <= self.outcome.repeats:
            return pictures
        adversarial = self.outcome.adversarial if self.outcome.repeats % 2 else None
        self._expected = self.clean_answer if adversarial is None else self.wrong
        again = self.plan.clean if adversarial is None else adversarial
        return np.concatenate([pictures, again[None]])

    def _without_repeat(self, labels: list[str]) -> list[str]:
        if self._expected is None:
            return labels
        self.outcome.repeats += 1
        self.outcome.differing += labels[-1] != self._expected
        self._expected = None
        return labels[:-1]

    def _run(self) -> Generator[Pixels, list[str], None]:
        """The protocol: clean photo, mapped photo, attack."""
        self.clean_answer = clean = (yield self.plan.clean[None])[0]
        if clean == self.wrong or (clean == ABSTAIN and not self.plan.attack_abstained):
            self.outcome.status = "abstained" if clean == ABSTAIN else "misclassified"
            return
        if self.plan.mapped is not None and (yield self.plan.mapped[None])[0] == self.wrong:
            return
        attack = self.plan.attack(self.plan.problem)
        try:
            probes = next(attack)
            while True:
                labels = yield probes
                probes = attack.send(np.array([label == self.wrong for label in labels]))
        except StopIteration:
            if self.outcome.adversarial is None and self.plan.needs_start:
                self.outcome.status, self.outcome.reason = "failed", "no start: nothing tried was answered wrongly"

    def _note_hits(self, labels: list[str], queries: int) -> None:
        """Keep the nearest wrong answer to the picture that distances are measured from."""
        hits = [place for place, label in enumerate(labels) if label == self.wrong]
        if not hits or queries == 0:  # the first answer is the clean photo's
            return
        lengths = distances(self.plan.problem, self.pending[hits].reshape(len(hits), -1)) / 255
        for place, length in zip(hits, lengths.tolist(), strict=True):
            if self.outcome.l2 is None or length < self.outcome.l2:
                if self.outcome.adversarial is not None:
                    self.outcome.earlier.append(self.outcome.adversarial)
                self.outcome.l2 = length
                self.outcome.adversarial = self.pending[place].copy()
                self.outcome.curve.append((queries + place + 1, length))


def _key(picture: Pixels) -> bytes:
    """A contiguous picture's 128 bits. No endpoint chooses the probes, so nothing cryptographic is called for."""
    return xxhash.xxh3_128_digest(picture.data)
