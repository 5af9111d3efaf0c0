"""A Docker engine and the project's image, built from the unmodified Dockerfile."""

import os
import shlex
import shutil
import subprocess
import uuid
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import torch

from model.architecture import Architecture, PixelClassifier
from model.bundle import BundleMetadata, save_bundle
from model.photos import find_photos
from model.pixels import load_square
from tests.container.live import wait_until_ready

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE = "trades-bob"


def _script() -> Path | None:
    for candidate in (os.environ.get("TRADES_BOB_DOCKER_ENGINE"), ROOT.parent / "shared" / "docker-engine" / "up"):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    return None


def _environment() -> dict[str, str]:
    """This environment, with what the script that starts an engine exports."""
    environment = dict(os.environ)
    if script := _script():
        exports = subprocess.run([str(script)], check=True, capture_output=True, text=True, timeout=600).stdout
        words = [word for line in exports.splitlines() for word in shlex.split(line) if "=" in word]
        environment |= dict(word.split("=", 1) for word in words)
    return environment


@pytest.fixture(scope="session")
def environment():
    """The environment in which `docker` finds an engine. CI lets no such test be skipped."""
    found = _environment()
    runs = shutil.which("docker") and subprocess.run(["docker", "version"], env=found, capture_output=True, check=False)
    if not runs or runs.returncode:
        message = "no Docker engine: start one, or set TRADES_BOB_DOCKER_ENGINE to a script that starts one"
        if os.environ.get("TRADES_BOB_REQUIRE_ALL"):
            pytest.fail(message)
        pytest.skip(message)
    # The command under test finds the engine as a user's shell would.
    os.environ |= {name: found[name] for name in ("DOCKER_HOST",) if name in found}
    return found


@pytest.fixture(scope="session")
def engine(environment):
    client = docker.from_env(environment=environment)
    yield client
    client.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory, photos):
    """Random weights whose answers to real photos differ: each class, and abstain, about a third."""
    torch.manual_seed(0)
    network = PixelClassifier(Architecture(backbone="resnet18")).eval()
    pixels = [load_square(photo.path, 224) for photo in find_photos(photos / "val", 24)]
    x = torch.stack([torch.from_numpy(square.copy()).permute(2, 0, 1) / 255 for square in pixels])
    with torch.no_grad():
        logits = network(x)
        network.backbone.fc.bias -= logits.median(dim=0).values
        largest = network(x).amax(dim=1).sort().values
    path = tmp_path_factory.mktemp("bundle")
    save_bundle(path, network, BundleMetadata(abstain_below=float(largest[8:10].mean())), torch.float16)
    return path


@pytest.fixture(scope="session")
def build(environment):
    """Run `docker build` in a tree; returns the finished process."""

    def run(*arguments, tree=ROOT):
        wheels = environment.get("TRADES_BOB_WHEELHOUSE")
        contexts = ["--build-context", f"wheels={wheels}"] if wheels else []
        command = ["docker", "build", "--progress=plain", *contexts, *map(str, arguments), str(tree)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)

    return run


@pytest.fixture(scope="session")
def image(build, bundle, engine):
    """The image, built under the name that the documents use."""
    built = build("--tag", IMAGE, "--build-context", f"bundle={bundle}")
    assert built.returncode == 0, built.stderr[-3000:]
    return engine.images.get(IMAGE)


@pytest.fixture(scope="session")
def start(engine, image):
    """Start a container; it is removed afterwards. Its `url` is its address on the engine's own network."""

    @contextmanager
    def run(name=IMAGE, ready=True, **options):
        container = engine.containers.create(name, name=f"trades-bob-test-{uuid.uuid4().hex[:8]}", **options)
        try:
            container.start()
            if ready:
                wait_until_ready(container)
            yield container
        finally:
            container.remove(force=True, v=True)

    return run
