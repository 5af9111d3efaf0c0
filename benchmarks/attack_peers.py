"""Attacks of foolbox 3 and ART against a live endpoint, one photo a thread, their probes pooled into full requests."""

import math
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Self

import numpy as np

from attack.wire.client import Client
from model.labels import CLASSES
from model.pixels import Pixels

Curve = list[tuple[int, float]]
"""(queries, l2 in [0, 1] units) whenever a nearer wrong answer was found."""
POOL = 32


class Spent(Exception):  # noqa: N818
    """A peer has asked as often as it may."""


class Pooled:
    """One client for many threads: what they ask at about the same time travels as one request."""

    def __init__(self, client: Client) -> None:
        self.client, self.info = client, client.info
        self._asked: SimpleQueue[tuple[Pixels, Future[list[str]]] | None] = SimpleQueue()
        self._sender = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Self:
        self._sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(None)
        self._sender.join()

    def predict_batch(self, pixels: Pixels) -> list[str]:
        answer: Future[list[str]] = Future()
        self._asked.put((pixels, answer))
        return answer.result()

    def _send(self) -> None:
        while (first := self._asked.get()) is not None:
            together = [first]
            while not self._asked.empty() and sum(len(pixels) for pixels, _ in together) < POOL:
                together.append(self._asked.get())
            self._answer(together)

    def _answer(self, together: list) -> None:
        try:
            labels = self.client.predict_batch(np.concatenate([pixels for pixels, _ in together]))
        except Exception as error:  # noqa: BLE001  (the askers raise it)
            for _, answer in together:
                answer.set_exception(error)
            return
        for pixels, answer in together:
            answer.set_result(labels[: len(pixels)])
            labels = labels[len(pixels) :]


class Counter:
    """Passes a peer's probes of one photo on to the endpoint, and notes the nearest wrong answer as queries go by."""

    def __init__(self, client: Client | Pooled, original: Pixels, label: int, budget: int) -> None:
        self.client, self.original, self.label, self.budget = client, original.astype(np.float32), label, budget
        self.info = client.info
        self.queries, self.nearest = 0, math.inf
        self.curve: Curve = []

    def predict_batch(self, pixels: Pixels) -> list[str]:
        if self.queries >= self.budget:
            raise Spent
        labels = self.client.predict_batch(pixels)
        for picture, label in zip(pixels, labels, strict=True):
            self.queries += 1
            if label == CLASSES[1 - self.label] and self.queries <= self.budget:
                self._note(float(np.linalg.norm(picture.astype(np.float32) - self.original)) / 255)
        return labels

    def _note(self, l2: float) -> None:
        if l2 < self.nearest:
            self.nearest = l2
            self.curve.append((self.queries, l2))


Peer = Callable[[Counter, Pixels, int], None]
"""Attacks the counter's photo from a start, given the photo's label, until it ends or `Spent` is raised."""


def run_peer(peer: Peer, client: Client, tasks: list[tuple[Pixels, Pixels, int, int]]) -> Iterator[Curve]:
    """Curves for (original, start, label, budget) tasks, in their order, each as soon as it is there."""

    def one(task: tuple[Pixels, Pixels, int, int]) -> Curve:
        original, start, label, budget = task
        counter = Counter(pooled, original, label, budget)
        try:
            peer(counter, start, label)
        except Spent:
            pass
        except (AssertionError, ValueError) as error:
            warnings.warn(f"{error!r} after {counter.queries} queries", stacklevel=1)
        return counter.curve

    with Pooled(client) as pooled, ThreadPoolExecutor(POOL) as threads:
        yield from threads.map(one, tasks)


def foolbox_peer(name: str, **options: float) -> Peer:
    import foolbox
    import torch

    from attack.wire.adapters import foolbox_model

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def run(counter: Counter, start: Pixels, label: int) -> None:
        x = torch.from_numpy(counter.original.transpose(2, 0, 1)[None] / 255)
        begin = torch.from_numpy(start.astype(np.float32).transpose(2, 0, 1)[None] / 255)
        criterion = foolbox.criteria.TargetedMisclassification(torch.tensor([1 - label]))
        getattr(foolbox.attacks, name)(**options).run(foolbox_model(counter), x, criterion, starting_points=begin)

    return run


def art_peer() -> Peer:
    from art.attacks.evasion import HopSkipJump

    from attack.wire.adapters import art_classifier

    np.random.seed(0)  # ART draws from it

    def run(counter: Counter, start: Pixels, label: int) -> None:
        x = counter.original.transpose(2, 0, 1)[None] / 255
        begin = start.astype(np.float32).transpose(2, 0, 1)[None] / 255
        attack = HopSkipJump(art_classifier(counter), targeted=True, norm=2, max_iter=10_000, verbose=False)
        attack.generate(x, y=np.eye(3)[[1 - label]], x_adv_init=begin)

    return run


PEERS: dict[str, Callable[[], Peer]] = {
    "foolbox Boundary": lambda: foolbox_peer("BoundaryAttack"),
    "foolbox HopSkipJump": lambda: foolbox_peer("HopSkipJumpAttack"),
    "ART HopSkipJump": art_peer,
    "foolbox HopSkipJump, gamma 1000": lambda: foolbox_peer("HopSkipJumpAttack", gamma=1000.0),
}
"""With their defaults; the last one with probes so far apart that the 8-bit lattice does not drown them."""
