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

from attack.check.doors import doors
from attack.check.findings import Unfit, joined
from attack.check.samples import image_file, patterns
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
    """Text by where it stood: `the header date of npy`, `the body of multipart`, `the metric x`."""


def labels_only(subject: Subject) -> tuple[str, dict[str, float]]:
    """Nothing but a label, and the hash of the pixels, depends on the picture."""
    label, pictures = _twins(subject)
    faults = list(_named_faults(subject, pictures[0]))
    if suspects := _telling(_ask_in_turn(subject, label, pictures), label):
        # Counters of time may follow a picture by chance, but hardly twice.
        told = suspects & _telling(_ask_in_turn(subject, label, pictures), label)
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
    names = {*_metrics(subject)}
    for door in doors(subject, picture):
        answer = door.ask()
        names |= {*answer.headers}
        if others := sorted(set(subject.json(answer)) - {door.key}):
            yield f"the answer to {door.name} also tells {others}"
    for name in sorted(filter(SCORE_WORDS.search, names)):
        yield f"the name {name!r} is that of a score"
    for name, error in _refusals(subject, picture):
        if found := SCORE_WORDS.search(error.text):
            yield f"the error of {name} speaks of a {found[0]!r}"


def _ask_in_turn(subject: Subject, label: str, pictures: Pixels) -> list[Told]:
    """Each picture ROUNDS times, in another order each time, so that nothing periodic follows a picture."""
    order, told = random.Random(), []  # noqa: S311  (an order, not a secret)
    for _ in range(ROUNDS):
        for index in order.sample(range(len(pictures)), len(pictures)):
            told.append(_ask(subject, label, index, pictures[index]))
    return told


def _ask(subject: Subject, label: str, index: int, picture: Pixels) -> Told:
    """By every door, and cut short. Metrics see even bodies alone: a count of bytes would tell a file's length."""
    ways = doors(subject, picture)
    answers = [(door, door.ask()) for door in ways if not door.even]
    before = _metrics(subject)
    answers += [(door, door.ask()) for door in ways if door.even]
    refused = _refusals(subject, picture)
    after = _metrics(subject)
    labels = {door.name: door.labels(subject.json(answer)) for door, answer in answers}
    # A JPEG is another picture: it may have another label, and then that is all it tells.
    told = [(door.name, answer) for door, answer in answers if set(labels[door.name]) == {label}]
    values = {f"{place} of {name}": text for name, answer in told + refused for place, text in _told_by(answer).items()}
    values |= {f"the metric {name}": value for name, value in after.items()}
    values |= {f"the step of the metric {name}": _step(before.get(name), after[name]) for name in after}
    values |= {f"GET {page}": subject.http.get(page).text for page in PAGES}
    return Told(index, "".join(labels["npy"]), values)


def _refusals(subject: Subject, picture: Pixels) -> list[tuple[str, httpx.Response]]:
    """The answers to the picture cut short: as an array, as a batch and as a file."""
    file = image_file(picture, "PNG")
    return [
        ("a cut npy", subject.post("/predict", npy_body(picture)[:-1], NPY)),
        ("a cut batch", subject.post("/predict/batch", npy_body(picture[None])[:-1], NPY)),
        ("a cut PNG", subject.post("/predict", file[: len(file) // 2], "image/png")),
    ]


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
