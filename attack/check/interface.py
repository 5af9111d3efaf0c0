"""The check of the API's shape: every request of the contract is answered as the contract says."""

import re
from collections.abc import Iterator
from typing import Final

import httpx
import numpy as np

from attack.check.doors import doors
from attack.check.findings import Unfit, joined
from attack.check.samples import numpy_file
from attack.check.subject import Subject
from attack.wire.messages import NPY, npy_body
from model.labels import CLASSES, LABELS
from model.pixels import Pixels, pixels_sha256

PROBLEM: Final = "application/problem+json"


def api_shape(subject: Subject) -> tuple[str, dict[str, float]]:
    """Every request of the contract is answered as the contract says."""
    picture = subject.samples.pixels[0]
    faults = [*_probe_faults(subject), *_info_faults(subject), *_door_faults(subject, picture)]
    faults += _problem_faults(subject, picture)
    if faults:
        raise Unfit(joined(faults))
    ways = len(doors(subject, picture))
    return f"probes, /info, {ways} ways to send a picture, four kinds of error are as the contract says", {}


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
    """The same picture by every door: labels, and the hash of its pixels. Whether it is one label is no shape."""
    for door in doors(subject, picture):
        response = door.ask()
        if response.status_code != httpx.codes.OK:
            yield f"{door.name} answers {response.status_code}"
            continue
        labels = door.labels(subject.json(response))
        if len(labels) != door.pictures or set(labels) - set(LABELS):
            yield f"{door.name} answers {response.text[:60]!r}"
        elif door.exact and _hashes(response) != [pixels_sha256(picture)] * door.pictures:
            yield f"{door.name}: Pixels-SHA256 is not that of the pixels sent"


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


def _hashes(response: httpx.Response) -> list[str]:
    return [part.strip().lower() for part in response.headers.get("Pixels-SHA256", "").split(",")]
