"""OpenAPI says the truth: schemathesis asks what the document allows and forbids, and the service keeps to it."""

import contextlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from server.problems import PROBLEMS
from tests.fake_runtime import square
from tests.live_server import LiveServer, live_server, npy
from tests.pictures import encoded

pytestmark = pytest.mark.integration
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    unsupported_method,
]
LABELS = st.sampled_from(["bird", "bicycle", "abstain"])

# The schema can say that a body is binary, not that it is a PNG: these are the bodies that each type stands for.
for kind in ("png", "jpeg", "webp", "bmp"):
    schemathesis.openapi.media_type(f"image/{kind}", LABELS.map(lambda label, kind=kind: encoded(square(label), kind)))

schemathesis.openapi.media_type(
    "application/x-npy", st.lists(st.integers(0, 5), max_size=5).map(lambda shape: npy(np.zeros((*shape, 3), np.uint8)))
)


@schemathesis.serializer("application/x-npy")
def _npy(_: object, value: bytes) -> bytes:
    return value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "bundle.json").write_text("d" * 64)
    with live_server(folder, folder, "tests.fake_runtime:open_runtime") as live:
        yield live


@pytest.fixture(scope="module")
def api(server: LiveServer) -> schemathesis.schemas.BaseSchema:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(
    ("path", "method", "examples"),
    [("/predict", "POST", 60), ("/predict/batch", "POST", 60)]
    + [(path, "GET", 5) for path in ("/", "/info", "/livez", "/readyz", "/metrics")],
)
def test_answers_are_as_documented(
    api: schemathesis.schemas.BaseSchema, path: str, method: str, examples: int, mode: schemathesis.GenerationMode
) -> None:
    @seed(0)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # a GET without parameters cannot be asked wrongly
        run()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_documented_pictures_are_accepted(api: schemathesis.schemas.BaseSchema, kind: str) -> None:
    case = api["/predict"]["POST"].Case(body=encoded(square("bird"), kind), media_type=f"image/{kind}")
    case.call_and_validate(checks=[*CHECKS, positive_data_acceptance])


@pytest.mark.parametrize(("path", "shape"), [("/predict", (9, 9, 3)), ("/predict/batch", (2, 9, 9, 3))])
def test_documented_arrays_are_accepted(
    api: schemathesis.schemas.BaseSchema, path: str, shape: tuple[int, ...]
) -> None:
    case = api[path]["POST"].Case(body=npy(np.zeros(shape, np.uint8)), media_type="application/x-npy")
    case.call_and_validate(checks=[*CHECKS, positive_data_acceptance])


def test_missing_fields_are_refused(api: schemathesis.schemas.BaseSchema) -> None:
    for path in ("/predict", "/predict/batch"):
        case = api[path]["POST"].Case(body={}, media_type="multipart/form-data")
        case.call_and_validate(checks=[*CHECKS, negative_data_rejection])


def test_the_document_knows_every_route_and_problem(server: LiveServer) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert set(document["paths"]) == {"/predict", "/predict/batch", "/info", "/livez", "/readyz", "/metrics", "/"}
    told = document["paths"]["/predict"]["post"]["responses"]["400"]["content"]["application/problem+json"]["schema"]
    assert {f"urn:trades-bob:{problem.slug}" for problem in PROBLEMS} <= set(told["properties"]["type"]["enum"])
