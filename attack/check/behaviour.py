"""Checks of the answers: determinism, abstention, accuracy, throughput.

N pictures, S side in pixels.
"""

import time
from collections import Counter
from typing import Final

import numpy as np

from attack.check.doors import doors
from attack.check.findings import Skipped, Unfit
from attack.check.shares import Share, judge
from attack.check.subject import CONNECTIONS, Subject
from attack.wire.workers import workers
from model.labels import ABSTAIN, CLASSES
from model.pixels import Pixels

REQUESTS_IN_FLIGHT: Final = 2
BATCH_S: Final = 2.0


def determinism(subject: Subject) -> tuple[str, dict[str, float]]:
    """The same photo many times alone and by every door, then every photo in other company and at other positions."""
    times = subject.rules.repeats
    _repeated(subject, times)
    _by_every_door(subject)
    pixels = np.concatenate([subject.samples.pixels, _plain(subject.info.input_size)])
    batches = _companies(len(pixels), min(subject.info.max_batch, len(pixels)))
    _in_company(subject, pixels, batches)
    # The client asks again after a 5xx; a contest would have lost the answer.
    if broken := subject.client.pace.retries - subject.client.pace.busy:
        raise Unfit(f"{broken} good requests were answered with a server error (5xx)")
    said = f"one photo {times} times alone, {len(pixels)} pictures alone and in {len(batches)} batches: the same labels"
    return said, {"repeats": times, "pictures": len(pixels), "batches": len(batches)}


def _repeated(subject: Subject, times: int) -> None:
    with workers(CONNECTIONS) as pool:
        told = Counter(pool.map(subject.client.predict, [subject.samples.pixels[0]] * times))
    if len(told) > 1:
        subject.steady = False
        labels = ", ".join(f"{label} {count}" for label, count in told.most_common())
        raise Unfit(f"the same photo asked {times} times alone: {labels}")


def _by_every_door(subject: Subject) -> None:
    """One label, whichever way a photo is sent alone."""
    exact = [door for door in doors(subject, subject.samples.pixels[0]) if door.exact]
    told = {door.name: door.labels(subject.json(door.ask())) for door in exact}
    alone = {name: labels[0] for name, labels in told.items() if len(labels) == 1}
    if len(set(alone.values())) > 1:
        raise Unfit("the same photo, sent as " + ", ".join(f"{name}: {label}" for name, label in alone.items()))


def _in_company(subject: Subject, pixels: Pixels, batches: list[list[int]]) -> None:
    with workers(CONNECTIONS) as pool:
        alone = list(pool.map(subject.client.predict, pixels))
    for company in batches:
        together = subject.predict_batch(pixels[company])
        for index, label in zip(company, together, strict=True):
            if label != alone[index]:
                raise Unfit(f"picture {index} is {alone[index]} alone and {label} in a batch of {len(company)}")


def abstention(subject: Subject) -> tuple[str, dict[str, float]]:
    """At most the allowed share of the clean photos is answered `abstain`."""
    labels = _clean_labels(subject)
    share = Share(labels.count(ABSTAIN), len(labels), subject.samples.drawn)
    said = judge(share, "clean photos abstained on", subject.rules.max_abstain, upper=True)
    return said, share.figures("abstained", "photos")


def accuracy(subject: Subject) -> tuple[str, dict[str, float]]:
    """The answers to the photos on which the endpoint does not abstain."""
    truths = [CLASSES[photo.label] for photo in subject.samples.photos]
    pairs = zip(_clean_labels(subject), truths, strict=True)
    answered = [(label, truth) for label, truth in pairs if label != ABSTAIN]
    if not answered:
        raise Skipped("all clean photos were abstained on: no answer to judge")
    right = sum(label == truth for label, truth in answered)
    share = Share(right, len(answered), subject.samples.drawn)
    said = judge(share, "answered photos right", subject.rules.min_accuracy, upper=False)
    return said, share.figures("right", "answered")


def _clean_labels(subject: Subject) -> list[str]:
    if not subject.samples.photos:
        raise Skipped("no clean photos given (--images DIR)")
    if not subject.steady:
        raise Skipped("the same photo gets another label each time: a count of labels would say nothing")
    return subject.clean_labels


def throughput(subject: Subject) -> tuple[str, dict[str, float]]:
    """Images a second by /predict/batch, two requests in flight, the first batch left out as warm-up."""
    batch = subject.batch_of(BATCH_S)
    subject.predict_batch(batch)
    started = time.monotonic()
    with workers(REQUESTS_IN_FLIGHT) as pool:
        counts = pool.map(
            lambda _: _until(subject, batch, started + subject.rules.measure_s), range(REQUESTS_IN_FLIGHT)
        )
        images = sum(counts)
    rate, least = images / (time.monotonic() - started), subject.rules.min_images_per_s
    said = f"{_rate(rate)} in batches of {len(batch)} (at least {_rate(least)})"
    if rate < least:
        raise Unfit(said)
    return said, {"images_per_s": rate, "batch": len(batch)}


def _until(subject: Subject, batch: Pixels, end: float) -> int:
    """Ask until the time has come, at least once: images answered."""
    images = 0
    while True:
        images += len(subject.predict_batch(batch, REQUESTS_IN_FLIGHT))
        if time.monotonic() >= end:
            return images


def _plain(side: int) -> Pixels:
    """Black and white: the company that moves a batch's statistics most."""
    return np.stack([np.full((side, side, 3), value, np.uint8) for value in (0, 255)])


def _companies(n: int, size: int) -> list[list[int]]:
    """Which pictures go together, `size` at most; the last two of all `n` are black and white.

    All forward, all backward, every second one, the first many times among the others, among itself, after plain ones.
    """
    forward, mixed = list(range(size)), [i for j in range(1, n) for i in (0, j)][:size]
    plain = [n - 2, n - 1] * size
    return [forward, forward[::-1], list(range(0, n, 2))[:size], mixed, [0] * size, [*plain[: size - 1], 0]]


def _rate(per_s: float) -> str:
    if per_s >= 1:
        return f"{per_s:,.{0 if per_s >= 10 else 1}f} images/s"
    return f"{per_s * 60:.3g} images/min"
