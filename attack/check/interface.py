"""Checks of what goes over the wire: the API's shape, and that it tells labels and nothing else."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import httpx
import numpy as np

from attack.check.findings import Unfit
from attack.check.samples import numpy_file, png
from attack.check.subject import Subject
from attack.wire.messages import NPY, npy_body
from model.labels import CLASSES, LABELS
from model.pixels import Pixels, pixels_sha256

PROBLEM: Final = "application/problem+json"
SCORE_WORDS: Final = re.compile(r"logit|score|confidence|probab|margin|softmax", re.IGNORECASE)
ROUNDS: Final = 3
FAULTS_TOLD: Final = 3


def api_shape(subject: Subject) -> tuple[str, dict[str, float]]:
    """Every request of the contract is answered as the contract says."""
    picture = subject.samples.pixels[0]
    faults = [*_probe_faults(subject), *_info_faults(subject), *_door_faults(subject, picture)]
    faults += _problem_faults(subject, picture)
    if faults:
        raise Unfit(_joined(faults))
    return "probes, /info, five ways to send a picture, four kinds of error are as the contract says", {}


def labels_only(subject: Subject) -> tuple[str, dict[str, float]]:
    """Nothing but a label depends on the picture: no further key, no telling header, no telling metric.

    Two pictures with the same label are asked for in turn. What is the same each time for one picture and another for
    the other is a function of the picture, and must be the label or the hash of the pixels.
    """
    first, second = _twins(subject)
    answers: list[tuple[httpx.Response, httpx.Response]] = []
    metrics: list[tuple[Mapping[str, str], Mapping[str, str]]] = []
    for _ in range(ROUNDS):
        pair = [(_asked(subject, picture), _samples(subject)) for picture in (first, second)]
        answers.append((pair[0][0], pair[1][0]))
        metrics.append((pair[0][1], pair[1][1]))
    faults = [*_body_faults(subject, first, answers), *_header_faults(answers), *_metric_faults(metrics)]
    if faults:
        raise Unfit(_joined(faults))
    return "bodies, headers, errors and metrics hold no other function of the picture", {}


def _probe_faults(subject: Subject) -> Iterator[str]:
    for path in ("/livez", "/readyz", "/metrics"):
        status = subject.http.get(path).status_code
        if status != httpx.codes.OK:
            yield f"GET {path} answers {status}"


def _info_faults(subject: Subject) -> Iterator[str]:
    info = subject.info.raw
    if info.get("classes") != list(CLASSES):
        yield f"/info: classes are {info.get('classes')!r}; expected {list(CLASSES)}"
    if not any("resize" in key for key in info):
        yield "/info states no resize rule"
    if not isinstance(info.get("limits"), dict):
        yield "/info states no limits"
    weights = str(info.get("weights_sha256"))
    if not re.fullmatch("[0-9a-f]{64}", weights):
        yield f"/info: weights_sha256 is {weights[:20]!r}"
    labelled = subject.machine.label("trades-bob.weights-sha256") if subject.machine else ""
    if labelled not in ("", weights):
        yield f"/info: weights are {weights[:12]}..., the image's label says {labelled[:12]}..."


def _door_faults(subject: Subject, picture: Pixels) -> Iterator[str]:
    """The same picture by every door: one label, and the hash of its pixels."""
    file = png(picture)
    doors: dict[str, Callable[[], httpx.Response]] = {
        "npy": lambda: subject.post("/predict", npy_body(picture), NPY),
        "PNG body": lambda: subject.post("/predict", file, "image/png"),
        "multipart": lambda: subject.http.post("/predict", files={"image": ("a.png", file, "image/png")}),
        "npy batch": lambda: subject.post("/predict/batch", npy_body(np.stack([picture, picture])), NPY),
        "multipart batch": lambda: subject.http.post(
            "/predict/batch", files=[("images", ("a.png", file, "image/png")) for _ in range(2)]
        ),
    }
    expected: str | None = None
    for name, ask in doors.items():
        batch = "batch" in name
        response = ask()
        if response.status_code != httpx.codes.OK:
            yield f"{name} answers {response.status_code}"
            continue
        answer = subject.json(response)
        labels = answer.get("labels") if batch else [answer.get("label")]
        if not isinstance(labels, list) or len(labels) != 1 + batch or set(map(str, labels)) - set(LABELS):
            yield f"{name} answers {response.text[:60]!r}"
            continue
        expected = expected or labels[0]
        if set(labels) != {expected}:
            yield f"{name} answers {labels}, another door {expected!r}"
        if _hashes(response) != [pixels_sha256(picture)] * (1 + batch):
            yield f"{name}: Pixels-SHA256 is not that of the pixels sent"


def _problem_faults(subject: Subject, picture: Pixels) -> Iterator[str]:
    """What is wrong is refused with the right status, as problem+json."""
    side = subject.info.input_size
    wrong = {
        "bytes that are no image": (400, "/predict", b"no image", "image/png"),
        "an unknown type": (415, "/predict", b"text", "text/plain"),
        "float32 pixels": (422, "/predict", numpy_file(picture.astype(np.float32)), NPY),
        "too large a batch": (
            413,
            "/predict/batch",
            npy_body(np.zeros((subject.info.max_batch + 1, side, side, 3), np.uint8)),
            NPY,
        ),
    }
    for name, (status, path, body, content_type) in wrong.items():
        response = subject.post(path, body, content_type)
        if response.status_code != status:
            yield f"{name}: status {response.status_code}, expected {status}"
        elif response.headers.get("Content-Type", "").partition(";")[0] != PROBLEM:
            yield f"{name}: the error is no {PROBLEM}"


def _twins(subject: Subject) -> tuple[Pixels, Pixels]:
    """Two pictures with the same label, where the answers allow it."""
    pixels = subject.samples.pixels[:16]
    labels = [subject.client.predict(picture) for picture in pixels]
    pairs = itertools.combinations(range(len(pixels)), 2)
    one, other = next((pair for pair in pairs if labels[pair[0]] == labels[pair[1]]), (0, 1))
    return pixels[one], pixels[other]


def _asked(subject: Subject, picture: Pixels) -> httpx.Response:
    return subject.post("/predict", npy_body(picture), NPY)


def _samples(subject: Subject) -> dict[str, str]:
    """Prometheus text -> value by name and labels."""
    lines = [line for line in subject.http.get("/metrics").text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.rpartition(" ") for line in lines)}


def _body_faults(
    subject: Subject, picture: Pixels, answers: list[tuple[httpx.Response, httpx.Response]]
) -> Iterator[str]:
    keys = set(subject.json(answers[0][0]))
    if keys != {"label"}:
        yield f"/predict also tells {sorted(keys - {'label'})}"
    batch = subject.json(subject.post("/predict/batch", npy_body(picture[None]), NPY))
    if set(batch) != {"labels"}:
        yield f"/predict/batch also tells {sorted(set(batch) - {'labels'})}"
    error = subject.post("/predict", npy_body(picture)[:-1], NPY)
    if found := SCORE_WORDS.search(error.text):
        yield f"an error speaks of a {found[0]!r}"


def _header_faults(answers: list[tuple[httpx.Response, httpx.Response]]) -> Iterator[str]:
    told = [tuple(dict(response.headers) for response in pair) for pair in answers]
    # The length of the body depends on the label alone, since the body holds nothing else.
    for name in set(told[0][0]) - {"pixels-sha256", "content-length"}:
        if SCORE_WORDS.search(name) or _tells([(a.get(name), b.get(name)) for a, b in told]):
            yield f"the header {name} tells something of the picture"


def _metric_faults(metrics: list[tuple[Mapping[str, str], Mapping[str, str]]]) -> Iterator[str]:
    for name in metrics[-1][0]:
        if SCORE_WORDS.search(name) or _tells([(a.get(name), b.get(name)) for a, b in metrics]):
            yield f"the metric {name} tells something of the picture"


def _tells(pairs: list[tuple[str | None, str | None]]) -> bool:
    """Whether the value is one for the first picture, each time, and another for the second."""
    first, second = ({pair[i] for pair in pairs} for i in (0, 1))
    return len(first) == len(second) == 1 and first != second


def _hashes(response: httpx.Response) -> list[str]:
    return [part.strip().lower() for part in response.headers.get("Pixels-SHA256", "").split(",")]


def _joined(faults: list[str]) -> str:
    more = f"; and {len(faults) - FAULTS_TOLD} more" if len(faults) > FAULTS_TOLD else ""
    return "; ".join(faults[:FAULTS_TOLD]) + more
