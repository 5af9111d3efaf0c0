"""The container as a user and an organiser run it."""

import shutil
import socket
import subprocess
import time
import uuid

import httpx
import numpy as np
import pytest

from attack.check.lifecycle import shutdown
from attack.check.machine import DockerMachine
from attack.check.rules import Rules
from attack.check.subject import Subject
from attack.wire.client import Client
from model.bundle import load_bundle
from model.photos import find_photos
from model.pixels import load_square
from model.runtime import open_runtime
from tests.container.live import url_of, wait_until_ready

pytestmark = pytest.mark.container

HARDENED = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "user": "12345:12345",
    "mem_limit": "1536m",
    "memswap_limit": "1536m",
    "pids_limit": 256,
}


@pytest.fixture(scope="module")
def service(start):
    """One running container for the tests that only ask it."""
    with start() as container:
        yield container


def expected_labels(bundle, photos):
    runtime = open_runtime(bundle)
    pixels = np.stack([load_square(photo.path, runtime.input_size) for photo in photos])
    return runtime.decide(runtime.logits(pixels))


def free_port():
    """8000 where it is free, else another."""
    for port in (8000, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
                return probe.getsockname()[1]
            except OSError:
                continue
    raise AssertionError("no free port")


def test_the_documented_command_serves_right_labels(environment, image, engine, bundle, photos):
    """`docker run --gpus all -p 8000:8000 trades-bob`, and a name to find it by; without a driver, on the CPU."""
    name, port = f"trades-bob-test-{uuid.uuid4().hex[:8]}", free_port()
    command = ["docker", "run", "--name", name, "--gpus", "all", "-p", f"{port}:8000", "trades-bob"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        container = _created(engine, name)
        wait_until_ready(container)
        chosen = find_photos(photos / "val", 12, seed=1)
        with Client(f"http://127.0.0.1:{port}") as client:
            labels = [client.predict(photo.path) for photo in chosen]
        assert labels == expected_labels(bundle, chosen)
        assert len(set(labels)) > 1, "one label for all photos shows nothing"
        assert container.attrs["HostConfig"]["DeviceRequests"][0]["Count"] == -1
        assert '"device": "cpu"' in container.logs().decode()
    finally:
        engine.containers.get(name).remove(force=True, v=True)
        process.wait(30)


def _created(engine, name):
    for _ in range(600):
        if found := engine.containers.list(all=True, filters={"name": name}):
            return found[0]
        time.sleep(0.1)
    raise AssertionError("the container was not created")


def test_it_becomes_healthy(service):
    for _ in range(60):
        service.reload()
        if service.attrs["State"]["Health"]["Status"] == "healthy":
            return
        time.sleep(0.5)
    pytest.fail(str(service.attrs["State"]["Health"]))


def test_no_process_is_roots(service):
    processes = service.top(ps_args="-eo uid,pid")
    assert {row[processes["Titles"].index("UID")] for row in processes["Processes"]} == {"10001"}


def test_it_runs_hardened_as_any_user_without_a_temporary_folder(start, bundle, photos):
    """A read-only root with nothing mounted over it: larger uploads and npy batches must not need a disk."""
    chosen = find_photos(photos / "val", 4)
    with start(**HARDENED) as container, Client(url_of(container)) as client:
        assert [client.predict(photo.path) for photo in chosen] == expected_labels(bundle, chosen)
        large = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
        form = {"image": ("large.bmp", _bmp(large), "image/bmp")}
        response = httpx.post(f"{url_of(container)}/predict", files=form, timeout=60)
        assert response.status_code == 200, response.text
        assert client.predict_batch(np.zeros((64, 224, 224, 3), np.uint8))


def _bmp(pixels):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    assert buffer.tell() > 5_000_000
    return buffer.getvalue()


def test_it_needs_no_network(start):
    """Without any network the health check, which runs inside, is the witness."""
    with start(ready=False, network_mode="none", **HARDENED) as container:
        for _ in range(180):
            container.reload()
            if container.attrs["State"]["Health"]["Status"] == "healthy":
                break
            assert container.status == "running", container.logs().decode()[-2000:]
            time.sleep(0.5)
        assert container.attrs["State"]["Health"]["Status"] == "healthy"
        assert "elemetry" not in container.logs().decode()


def test_sigterm_ends_it_with_the_requests_under_way_answered(start):
    rules = Rules(stop_s=15)
    with start() as container, Subject(url_of(container), rules, machine=DockerMachine(container, "bridge")) as subject:
        said, figures = shutdown(subject)
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 0
        assert "4 requests under way answered" in said
        assert figures["stop_s"] <= 15


def test_the_memory_limit_is_respected(start):
    """Far too little memory: the engine kills what goes over, the service says so and never claims to be ready."""
    with start(ready=False, mem_limit="160m", memswap_limit="160m") as container:
        for _ in range(120):
            container.reload()
            if container.attrs["State"]["OOMKilled"] and "worker died" in container.logs().decode():
                break
            time.sleep(0.5)
        assert "worker died" in container.logs().decode()
        assert container.attrs["State"]["OOMKilled"] is True
        assert httpx.get(f"{url_of(container)}/readyz", timeout=10).status_code == 503
        health = _first_verdict(container)
        assert health["Status"] != "healthy"
        assert all(entry["ExitCode"] for entry in health["Log"])
        assert any("503" in entry["Output"] for entry in health["Log"]), health["Log"]
        assert container.stats(stream=False)["memory_stats"]["usage"] <= 160 * 2**20


def _first_verdict(container):
    """The container's health once a check of it came back with an answer of the service.

    The worker may die before the engine's first check, and in so little memory a check may itself be killed.
    """
    for _ in range(120):
        container.reload()
        health = container.attrs["State"]["Health"]
        if any("503" in entry["Output"] for entry in health["Log"] or []):
            break
        time.sleep(0.5)
    return health


def test_a_corrupt_bundle_stops_the_start_with_one_line(start, bundle, tmp_path):
    corrupt = tmp_path / "corrupt"
    shutil.copytree(bundle, corrupt)
    weights = corrupt / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    for path in (tmp_path, corrupt, weights, corrupt / "bundle.json"):
        path.chmod(0o755)
    with start(ready=False, volumes={str(corrupt): {"bind": "/bundle", "mode": "ro"}}) as container:
        code = container.wait(timeout=120)["StatusCode"]
        said = container.logs().decode()
    assert code == 2, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("trades-bob: /bundle/model.safetensors: truncated or altered")


def test_the_harness_runs_from_the_same_image(engine, image):
    said = engine.containers.run(image, ["trades-bob", "attack", "--help"], network_mode="none", remove=True).decode()
    assert "--max-queries" in said


def test_the_baked_bundle_is_the_given_one(engine, image, bundle):
    said = engine.containers.run(image, ["sha256sum", "/bundle/model.safetensors"], network_mode="none", remove=True)
    assert said.decode().split()[0] == load_bundle(bundle).metadata.weights_sha256
