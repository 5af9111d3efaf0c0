"""The check that a label is all an endpoint tells of a picture: bodies, headers, errors, metrics.

Pictures with one label are asked for in turn. What is the same each time for one picture and different for another is a
function of the picture, and only the hash of the pixels may be one. A score hidden in the time an answer takes, or in a
value with noise over it, is beyond this check.

N pictures, S side in pixels.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np

from attack.check.findings import Unfit, joined
from attack.check.samples import patterns
from attack.check.subject import Subject
from attack.wire.messages import NPY, npy_body
from model.pixels import Pixels

SCORE_WORDS: Final = re.compile(r"logit|score|confidence|probab|margin|softmax", re.IGNORECASE)
ROUNDS: Final = 3
PICTURES: Final = 4
CANDIDATES: Final = 8
"""Photos, and as many patterns, among which the pictures with one label are looked for."""
PAGES: Final = ("/info", "/livez", "/readyz")


@dataclass(frozen=True)
class Told:
    """All that an endpoint told while one picture was asked for."""

    picture: int
    label: str
    values: dict[str, str]
    """Text by where it stood: `the header date`, `the metric x`, `the body of /predict`."""


def labels_only(subject: Subject) -> tuple[str, dict[str, float]]:
    """Nothing but a label, and the hash of the pixels, depends on the picture."""
    label, pictures = _twins(subject)
    faults = list(_named_faults(subject, pictures[0]))
    if suspects := _telling(_ask_in_turn(subject, pictures), label):
        # Counters of time may follow a picture by chance, but hardly twice.
        told = suspects & _telling(_ask_in_turn(subject, pictures), label)
        faults += [f"{name} tells something of the picture" for name in sorted(told)]
    if faults:
        raise Unfit(joined(faults))
    said = f"{len(pictures)} pictures with one label: bodies, headers, errors and metrics do not tell them apart"
    return said, {"pictures": len(pictures)}


def _twins(subject: Subject) -> tuple[str, Pixels]:
    """Pictures with the same label; 16 pictures and three labels, so there are always enough."""
    pixels = np.concatenate([subject.samples.pixels[:CANDIDATES], patterns(subject.info.input_size)])
    labels = [subject.client.predict(picture) for picture in pixels]
    most = max(set(labels), key=labels.count)
    return most, pixels[[i for i, label in enumerate(labels) if label == most][:PICTURES]]


def _named_faults(subject: Subject, picture: Pixels) -> Iterator[str]:
    """Keys, headers and metrics that have no place there, or whose name is that of a score."""
    answer = subject.post("/predict", npy_body(picture), NPY)
    batch = subject.post("/predict/batch", npy_body(picture[None]), NPY)
    for response, key in ((answer, "label"), (batch, "labels")):
        if others := sorted(set(subject.json(response)) - {key}):
            yield f"{response.request.url.path} also tells {others}"
    for name in {*answer.headers, *batch.headers, *_metrics(subject)}:
        if SCORE_WORDS.search(name):
            yield f"the name {name!r} is that of a score"
    if found := SCORE_WORDS.search(subject.post("/predict", npy_body(picture)[:-1], NPY).text):
        yield f"an error speaks of a {found[0]!r}"


def _ask_in_turn(subject: Subject, pictures: Pixels) -> list[Told]:
    """Each picture ROUNDS times, in another order each time, so that nothing periodic follows a picture."""
    order, told, before = random.Random(), [], _metrics(subject)  # noqa: S311  (an order, not a secret)
    for _ in range(ROUNDS):
        for index in order.sample(range(len(pictures)), len(pictures)):
            label, values = _ask(subject, pictures[index])
            metrics = _metrics(subject)
            values |= {f"the metric {name}": value for name, value in metrics.items()}
            values |= {f"the step of the metric {name}": _step(before.get(name), metrics[name]) for name in metrics}
            values |= {f"GET {page}": subject.http.get(page).text for page in PAGES}
            told.append(Told(index, label, values))
            before = metrics
    return told


def _ask(subject: Subject, picture: Pixels) -> tuple[str, dict[str, str]]:
    """Alone, in a batch and cut short: the label, and what else was told."""
    alone = subject.post("/predict", npy_body(picture), NPY)
    batch = subject.post("/predict/batch", npy_body(picture[None]), NPY)
    error = subject.post("/predict", npy_body(picture)[:-1], NPY)
    values = {
        f"{place} of {name}": value
        for name, response in (("/predict", alone), ("/predict/batch", batch), ("an error", error))
        for place, value in _told_by(response).items()
    }
    return str(subject.json(alone).get("label")), values


def _told_by(response: httpx.Response) -> dict[str, str]:
    """The status, each header, each key of a JSON body and, of an answer, the body as it stands, spaces included."""
    told = {f"the header {name}": value for name, value in response.headers.items() if name != "pixels-sha256"}
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        told |= {f"the key {key!r}": str(value) for key, value in body.items()}
    if response.is_success or not isinstance(body, dict):
        told["the body"] = response.text
    return told | {"the status": f"{response.status_code} {response.reason_phrase}"}


def _telling(told: Iterable[Told], label: str) -> set[str]:
    """Names of what was the same each time for each picture, and not the same for all pictures."""
    seen: dict[str, dict[int, list[str]]] = {}
    for one in told:
        if one.label == label:  # an endpoint whose label changes may tell the label
            for name, value in one.values.items():
                seen.setdefault(name, {}).setdefault(one.picture, []).append(value)
    return {name for name, by_picture in seen.items() if _tells(list(by_picture.values()))}


def _tells(by_picture: list[list[str]]) -> bool:
    often = [values for values in by_picture if len(values) > 1]
    steady = all(len(set(values)) == 1 for values in often)
    return steady and len({values[0] for values in often}) > 1


def _metrics(subject: Subject) -> dict[str, str]:
    """Prometheus text -> value by name and labels."""
    lines = [line for line in subject.http.get("/metrics").text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.rpartition(" ") for line in lines)}


def _step(before: str | None, after: str) -> str:
    """By how much a counter went on, to six digits: a sum of scores tells each of them."""
    try:
        return f"{float(after) - float(before or 0):.6g}"
    except ValueError:
        return after
