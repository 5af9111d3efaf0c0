"""The service as a process, over HTTP: the contract, with a model whose labels are known."""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from model.pixels import RESIZE_RULE, load_square, pixels_sha256, to_square
from tests.fake_runtime import SIZE, square
from tests.live_server import NPY, LiveServer, live_server, npy, wait_for
from tests.pictures import encoded

pytestmark = pytest.mark.integration
FACTORY = "tests.fake_runtime:open_runtime"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "bundle.json").write_text("f" * 64)
    with live_server(folder, folder, FACTORY, max_batch=20, max_pixels=1_000_000, max_body_bytes=2_000_000) as live:
        yield live


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def expect_problem(response: httpx.Response, status: int, slug: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:trades-bob:{slug}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
@pytest.mark.parametrize("label", ["bird", "bicycle", "abstain"])
def test_raw_pictures(client: httpx.Client, kind: str, label: str) -> None:
    body = encoded(square(label, 64), kind)
    answer = client.post("/predict", content=body, headers={"content-type": f"image/{kind}"})
    assert (answer.status_code, answer.json()) == (200, {"label": label})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["pixels-sha256"] == pixels_sha256(load_square(body, SIZE))


def test_multipart(client: httpx.Client) -> None:
    files = {"note": ("n.txt", b"passed over"), "image": ("x.png", encoded(square("bird")), "image/png")}
    answer = client.post("/predict", files=files)
    assert answer.json() == {"label": "bird"}
    assert answer.headers["pixels-sha256"] == pixels_sha256(square("bird"))


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, 50), (90, 40)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(client: httpx.Client, shape: tuple[int, int], order: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    answer = client.post("/predict", content=npy(np.asarray(pixels, order=order)), headers=NPY)
    assert answer.status_code == 200
    assert answer.headers["pixels-sha256"] == pixels_sha256(to_square(pixels, SIZE))


def test_batches_keep_their_order(client: httpx.Client) -> None:
    labels = ["bird", "bicycle", "abstain", "bicycle", "bird"] * 4
    squares = np.stack([square(label) for label in labels])
    answer = client.post("/predict/batch", content=npy(squares), headers=NPY)
    assert answer.json() == {"labels": labels}
    assert answer.headers["pixels-sha256"].split(",") == [pixels_sha256(one) for one in squares]
    forms = [("images", ("x", encoded(one))) for one in squares]
    assert client.post("/predict/batch", files=forms).json() == {"labels": labels}


def test_a_bad_picture_fails_alone(client: httpx.Client) -> None:
    good = encoded(square("bird"))
    forms = [("images", ("x", file)) for file in (good, good[:60], good, b"", encoded(np.zeros((1, 600, 3), np.uint8)))]
    answer = client.post("/predict/batch", files=forms)
    assert answer.status_code == 200
    assert answer.json()["labels"] == ["bird", None, "bird", None, None]
    assert [(error["index"], error["status"]) for error in answer.json()["errors"]] == [(1, 400), (3, 400), (4, 422)]
    assert [len(digest) for digest in answer.headers["pixels-sha256"].split(",")] == [64, 1, 64, 1, 1]
    expect_problem(client.post("/predict/batch", files=[("images", ("x", b"no"))] * 2), 400, "not-an-image")


REFUSED = [
    ("/predict", "image/png", b"", 400, "not-an-image"),
    ("/predict", "image/png", b"GIF89a" + bytes(50), 400, "not-an-image"),
    ("/predict", "image/png", encoded(square("bird"))[:-30], 400, "not-an-image"),
    ("/predict", "image/png", encoded(np.zeros((1001, 1000, 3), np.uint8)), 413, "too-large"),
    ("/predict", "image/png", bytes(2_000_001), 413, "too-large"),
    ("/predict", "image/bmp", encoded(np.zeros((20_000, 1, 3), np.uint8), "BMP"), 422, "wrong-shape"),
    ("/predict", "image/gif", encoded(square("bird"), "GIF"), 415, "unknown-type"),
    ("/predict", "text/plain", b"bird", 415, "unknown-type"),
    ("/predict", "", encoded(square("bird")), 415, "unknown-type"),
    ("/predict/batch", "image/png", encoded(square("bird")), 415, "unknown-type"),
    ("/predict", "multipart/form-data", b"x", 400, "not-an-image"),
    ("/predict", "multipart/form-data; boundary=b", b"--b\r\n", 400, "not-an-image"),
    ("/predict", "application/x-npy", npy(np.zeros((9, 9), np.uint8)), 422, "wrong-shape"),
    ("/predict", "application/x-npy", npy(np.zeros((1, 9, 9, 3), np.uint8)), 422, "wrong-shape"),
    ("/predict", "application/x-npy", npy(np.zeros((9, 9, 3), np.float32)), 422, "wrong-shape"),
    ("/predict", "application/x-npy", npy(np.zeros((9, 9, 3), np.int8)), 422, "wrong-shape"),
    ("/predict", "application/x-npy", npy(np.zeros((0, 9, 3), np.uint8)), 422, "wrong-shape"),
    ("/predict", "application/x-npy", npy(np.array([{"a": 1}], dtype=object)), 422, "wrong-shape"),
    ("/predict", "application/x-npy", npy(np.zeros((9, 9, 3), np.uint8))[:-1], 400, "not-an-image"),
    ("/predict", "application/x-npy", npy(np.zeros((9, 9, 3), np.uint8)) + b"x", 400, "not-an-image"),
    ("/predict", "application/x-npy", b"\x93NUMPY\x01\x00\xff\xff{", 400, "not-an-image"),
    ("/predict/batch", "application/x-npy", npy(np.zeros((21, 8, 8, 3), np.uint8)), 413, "too-large"),
    ("/predict/batch", "application/x-npy", npy(np.zeros((8, 8, 3), np.uint8)), 422, "wrong-shape"),
]


@pytest.mark.parametrize(("path", "kind", "body", "status", "slug"), REFUSED)
def test_refusals(client: httpx.Client, path: str, kind: str, body: bytes, status: int, slug: str) -> None:
    expect_problem(client.post(path, content=body, headers={"content-type": kind}), status, slug)
    assert client.post("/predict", content=npy(square("bird")), headers=NPY).json() == {"label": "bird"}


@pytest.mark.parametrize(("fields", "status"), [(["image", "image"], 422), (["picture"], 422), (["image"] * 10, 413)])
def test_forms_have_one_image(client: httpx.Client, fields: list[str], status: int) -> None:
    files = [(field, ("x.png", encoded(square("bird")))) for field in fields]
    assert client.post("/predict", files=files).status_code == status


def test_unpickling_never_happens(client: httpx.Client, tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (trap,)

    for path in ("/predict", "/predict/batch"):
        body = npy(np.array([Trap()] * 3, dtype=object))
        expect_problem(client.post(path, content=body, headers=NPY), 422, "wrong-shape")
    assert not trap.exists()


def test_methods_and_paths(client: httpx.Client) -> None:
    expect_problem(client.get("/nothing"), 404, "not-found")
    expect_problem(client.get("/shutdown"), 404, "not-found")
    for path in ("/predict", "/predict/batch"):
        answer = client.get(path)
        expect_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "POST, OPTIONS"
    expect_problem(client.post("/info"), 405, "method-not-allowed")


def test_operations(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "live"}
    assert client.get("/readyz").json() == {"status": "ready"}
    info = client.get("/info").json()
    assert (info["classes"], info["input_size"], info["resize_rule"]) == (["bicycle", "bird"], SIZE, RESIZE_RULE)
    assert info["weights_sha256"] == "f" * 64
    assert info["limits"]["max_batch"] == 20
    assert client.get("/docs").status_code == 200


def test_metrics_count(client: httpx.Client) -> None:
    def value(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    names = ['trades_bob_labels_total{label="bird"}', 'trades_bob_rejections_total{reason="unknown-type"}']
    names += [f"trades_bob_{stage}_seconds_count" for stage in ("decode", "queue", "inference")]
    names += ["trades_bob_batch_size_sum", 'trades_bob_requests_total{route="/predict",status="200"}']
    before = [value(name) for name in names]
    client.post("/predict", content=npy(square("bird")), headers=NPY)
    client.post("/predict", content=b"x", headers={"content-type": "text/html"})
    assert [value(name) - old for name, old in zip(names, before, strict=True)] == [1] * 7
    assert value("trades_bob_ready") == 1
    assert value("trades_bob_images_in_house") == 0


def test_each_request_is_logged_with_its_id(client: httpx.Client, server: LiveServer) -> None:
    client.post("/predict", content=npy(square("bird")), headers={**NPY, "x-request-id": "mine-1"})
    evil = client.get("/livez", headers={"x-request-id": "a b\tc"})
    assert re.fullmatch("[0-9a-f]{16}", evil.headers["x-request-id"])
    wait_for(lambda: evil.headers["x-request-id"] in server.log)
    lines = [json.loads(line) for line in server.log.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "mine-1"]
    assert (line["route"], line["status"], line["images"]) == ("/predict", 200, 1)
    assert {"decode_ms", "queue_ms", "inference_ms", "ms", "timestamp"} <= set(line)


def test_what_a_decoder_warns_of_is_not_logged(client: httpx.Client, server: LiveServer) -> None:
    """It quotes the file, is no JSON, and Python would keep each new one for good."""
    three_orientations = struct.pack("<HHHLL", 1, 0x0112, 3, 3, 26)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + three_orientations + bytes(4) + b"\1\0\1\0\1\0"
    picture = encoded(square("bird"), "JPEG", exif=exif)
    answer = client.post("/predict", content=picture, headers={"content-type": "image/jpeg"})
    assert answer.json() == {"label": "bird"}
    wait_for(lambda: answer.headers["x-request-id"] in server.log)
    for line in server.log.splitlines():
        json.loads(line)


def test_nothing_names_a_library_or_a_path(client: httpx.Client) -> None:
    answers = [client.post(path, content=body, headers={"content-type": kind}) for path, kind, body, _, _ in REFUSED]
    answers += [client.get(path) for path in ("/nothing", "/livez", "/readyz", "/info", "/predict")]
    for answer in answers:
        text = (answer.text + str(dict(answer.headers))).lower()
        for word in (
            "uvicorn",
            "starlette",
            "fastapi",
            "pillow",
            "python",
            "onnx",
            "traceback",
            "/home",
            "site-packages",
        ):
            assert word not in text.replace(RESIZE_RULE.lower(), "")
