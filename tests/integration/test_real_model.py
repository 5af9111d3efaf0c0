"""A real network behind the service, on real photos: torch's answers, whatever the company."""

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from model.architecture import Architecture, PixelClassifier
from model.bundle import BundleMetadata, load_bundle, save_bundle
from model.photos import Photo, find_photos
from model.pixels import load_square, pixels_sha256
from model.runtime import open_runtime
from tests.live_server import NPY, ROOT, LiveServer, live_server, npy

pytestmark = pytest.mark.integration
SIZE = 64


@pytest.fixture(scope="module")
def pictures(photos: Path) -> list[Photo]:
    return find_photos(photos / "val", limit=40)


@pytest.fixture(scope="module")
def squares(pictures: list[Photo]) -> np.ndarray:
    return np.stack([load_square(photo.path, SIZE) for photo in pictures])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, squares: np.ndarray) -> Path:
    """Random weights, a head that splits these photos, and a threshold that half of them pass: all labels occur."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = PixelClassifier(Architecture(backbone="resnet18")).eval()
    x = torch.from_numpy(squares).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        margins = network(x).diff(dim=1)
    with torch.no_grad():
        network.backbone.fc.bias -= torch.tensor([-0.5, 0.5]) * margins.median()
        threshold = float(network(x).max(dim=1).values.median())
    save_bundle(path, network, BundleMetadata(abstain_below=threshold + 1e-4, input_size=SIZE))
    return path


@pytest.fixture(scope="module")
def expected(bundle: Path, squares: np.ndarray) -> list[str]:
    classifier = load_bundle(bundle)
    with torch.inference_mode():
        labels = classifier.decide(classifier(torch.from_numpy(squares).permute(0, 3, 1, 2) / 255))
    assert set(labels) == {"bird", "bicycle", "abstain"}
    return labels


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server"), bundle) as live:
        yield live


def test_onnx_gives_the_logits_of_torch_on_photos(bundle: Path, squares: np.ndarray) -> None:
    with torch.inference_mode():
        logits = load_bundle(bundle)(torch.from_numpy(squares).permute(0, 3, 1, 2) / 255).numpy()
    assert np.abs(open_runtime(bundle, "onnx").logits(squares) - logits).max() < 1e-5


def test_files_get_the_labels_of_torch(server: LiveServer, pictures: list[Photo], expected: list[str]) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for photo, label in zip(pictures, expected, strict=True):
            body = photo.path.read_bytes()
            answer = client.post("/predict", content=body, headers={"content-type": "image/jpeg"})
            assert answer.json() == {"label": label}
            assert answer.headers["pixels-sha256"] == pixels_sha256(load_square(body, SIZE))


def test_labels_do_not_depend_on_company(server: LiveServer, squares: np.ndarray, expected: list[str]) -> None:
    def ask(seed: int) -> None:
        rng = random.Random(seed)
        picks = [rng.randrange(len(squares)) for _ in range(rng.choice([1, 2, 3, 7, 30, 64]))]
        answer = httpx.post(f"{server.url}/predict/batch", content=npy(squares[picks]), headers=NPY, timeout=60)
        assert answer.json() == {"labels": [expected[pick] for pick in picks]}
        assert answer.headers["pixels-sha256"] == ",".join(pixels_sha256(squares[pick]) for pick in picks)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ask, range(30)))


def test_mistakes_at_the_start_are_one_line(tmp_path: Path, bundle: Path) -> None:
    def serve(*arguments: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "trades_bob", "serve", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
        return done.returncode, done.stderr.strip().splitlines()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = serve("--bundle", str(bundle), "--port", str(port))
        assert (code, len(lines)) == (2, 1)
        assert str(port) in lines[0]
    code, lines = serve("--bundle", str(tmp_path / "nowhere"))
    assert (code, len(lines)) == (2, 1)
    assert "nowhere" in lines[0]
