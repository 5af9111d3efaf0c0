"""Checks of the answers: determinism, abstention, accuracy, throughput.

N pictures, S side in pixels.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from attack.check.findings import Skipped, Unfit
from attack.check.subject import CONNECTIONS, Subject
from model.labels import ABSTAIN, CLASSES
from model.pixels import Pixels

REQUESTS_IN_FLIGHT: Final = 2
BATCH_S: Final = 2.0
NO_PHOTOS: Final = "no clean photos given (--images DIR)"


def determinism(subject: Subject) -> tuple[str, dict[str, float]]:
    """The same photo many times alone, under concurrency, then every photo in other company and at other positions."""
    pixels, times = subject.samples.pixels, subject.rules.repeats
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        repeated = Counter(pool.map(subject.client.predict, [pixels[0]] * times))
        if len(repeated) > 1:
            told = ", ".join(f"{label} {count}" for label, count in repeated.most_common())
            raise Unfit(f"the same photo asked {times} times alone: {told}")
        alone = list(pool.map(subject.client.predict, pixels))
    batches = _companies(len(pixels), min(subject.info.max_batch, len(pixels)))
    for company in batches:
        together = subject.client.predict_batch(pixels[company])
        for index, label in zip(company, together, strict=True):
            if label != alone[index]:
                raise Unfit(f"photo {index} is {alone[index]} alone and {label} in a batch of {len(company)}")
    # The client asks again after a 5xx; a contest would have lost the answer.
    if broken := subject.client.pace.retries - subject.client.pace.busy:
        raise Unfit(f"{broken} good requests were answered with a server error (5xx)")
    said = f"one photo {times} times alone, {len(pixels)} photos alone and in {len(batches)} batches: the same labels"
    return said, {"repeats": times, "photos": len(pixels), "batches": len(batches)}


def abstention(subject: Subject) -> tuple[str, dict[str, float]]:
    """At most the allowed share of the clean photos is answered `abstain`."""
    if not subject.samples.photos:
        raise Skipped(NO_PHOTOS)
    labels = subject.clean_labels
    share, allowed = labels.count(ABSTAIN) / len(labels), subject.rules.max_abstain
    said = f"{labels.count(ABSTAIN)} of {len(labels)} clean photos ({share:.1%}; at most {allowed:.0%})"
    if share > allowed:
        raise Unfit(said)
    return said, {"abstained": labels.count(ABSTAIN), "photos": len(labels)}


def accuracy(subject: Subject) -> tuple[str, dict[str, float]]:
    """The answers to the photos on which the endpoint does not abstain."""
    photos = subject.samples.photos
    if not photos:
        raise Skipped(NO_PHOTOS)
    answered = [
        (label, CLASSES[photo.label])
        for label, photo in zip(subject.clean_labels, photos, strict=True)
        if label != ABSTAIN
    ]
    right, least = sum(label == truth for label, truth in answered), subject.rules.min_accuracy
    share = right / len(answered) if answered else 0.0
    said = f"{right} of {len(answered)} answered photos right ({share:.1%}; at least {least:.0%})"
    if share < least:
        raise Unfit(said)
    return said, {"right": right, "answered": len(answered)}


def throughput(subject: Subject) -> tuple[str, dict[str, float]]:
    """Images a second by /predict/batch, two requests in flight, the first batch left out as warm-up."""
    batch = subject.batch_of(BATCH_S)
    subject.client.predict_batch(batch)
    started = time.monotonic()
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
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
        images += len(subject.client.predict_batch(batch))
        if time.monotonic() >= end:
            return images


def _companies(n: int, size: int) -> list[list[int]]:
    """Which photos go together: all forward, all backward, every second one, one photo many times among others."""
    forward, mixed = list(range(size)), [i for j in range(1, n) for i in (0, j)][:size]
    return [forward, forward[::-1], list(range(0, n, 2))[:size], mixed]


def _rate(per_s: float) -> str:
    if per_s >= 1:
        return f"{per_s:,.{0 if per_s >= 10 else 1}f} images/s"
    return f"{per_s * 60:.3g} images/min"
