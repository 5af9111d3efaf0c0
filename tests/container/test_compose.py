"""docker/compose.yaml: the service, and the attack from a container of its own."""

import json
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from attack.wire.messages import NPY, npy_body
from model.photos import find_photos
from server.limits import make_key
from server.settings import Settings

pytestmark = pytest.mark.container

DOCKER = Path(__file__).resolve().parent.parent.parent / "docker"


@pytest.fixture
def compose(environment, image, photos, tmp_path):
    """Run `docker compose` in a project of its own; everything is taken down afterwards."""
    for photo in find_photos(photos / "val", 2):
        (tmp_path / photo.name).parent.mkdir(exist_ok=True)
        shutil.copy(photo.path, tmp_path / photo.name)
    tmp_path.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    given = {"LISTEN": listen, "IMAGES": str(tmp_path), "LIMIT": "2", "MAX_QUERIES": "20", "MEMORY": "2g"}
    settings = environment | {f"TRADES_BOB_{name}": value for name, value in given.items()}
    project = f"trades-bob-test-{uuid.uuid4().hex[:8]}"

    def run(*arguments, files=("compose.yaml",), **more):
        named = [word for file in files for word in ("--file", DOCKER / file)]
        command = ["docker", "compose", "--project-name", project, *named, *arguments]
        given = settings | {f"TRADES_BOB_{name}": value for name, value in more.items()}
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=300)

    run.project, run.url = project, f"http://{listen}"
    yield run
    run("--profile", "attack", "down", "--volumes", "--timeout", "10")


@pytest.mark.parametrize("keyed", [False, True])
def test_the_attack_profile_leaves_its_report_on_the_volume(keyed, compose, engine, image, tmp_path):
    given = _key(tmp_path) if keyed else {}
    done = compose("--profile", "attack", "up", "--abort-on-container-exit", "--exit-code-from", "attack", **given)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    volumes = {f"{compose.project}_report": {"bind": "/report", "mode": "ro"}}
    told = engine.containers.run(image, ["cat", "/report/results.json"], volumes=volumes, remove=True)
    results = json.loads(told)
    assert results["endpoint"] == "http://service:8000"
    assert len(results["images"]) == 2
    listed = engine.containers.run(image, ["ls", "/report"], volumes=volumes, remove=True).decode().split()
    assert "index.html" in listed


def test_without_a_gpu_the_override_serves_too(compose):
    files = ("compose.yaml", "compose.cpu.yaml")
    told = yaml.safe_load(compose("config", files=files).stdout)
    assert "devices" not in told["services"]["service"]["deploy"]["resources"].get("reservations", {})
    up = compose("up", "--detach", "--wait", files=files)
    assert up.returncode == 0, up.stderr[-3000:]
    assert httpx.get(f"{compose.url}/readyz", timeout=10).status_code == 200
    assert httpx.get(f"{compose.url}/info", timeout=10).json()["limits"]["max_batch"] == Settings().max_batch


def test_settings_and_keys_reach_the_service(compose, tmp_path):
    """From the shell, the keys as a secret; without a key only what needs none is told."""
    given = _key(tmp_path)
    files = ("compose.yaml", "compose.cpu.yaml")
    up = compose("up", "--detach", "--wait", files=files, MAX_BATCH="7", API_KEYS_FILE=given["API_KEYS_FILE"])
    assert up.returncode == 0, up.stderr[-3000:]
    assert httpx.get(f"{compose.url}/info", timeout=10).json()["limits"]["max_batch"] == 7
    picture = npy_body(np.zeros((128, 128, 3), np.uint8))
    for sent, status in (({}, 401), ({"X-API-Key": given["API_KEY"]}, 200)):
        headers = {"Content-Type": NPY} | sent
        answer = httpx.post(f"{compose.url}/predict", content=picture, headers=headers, timeout=30)
        assert answer.status_code == status, answer.text


def _key(folder):
    """A service that asks for a key, and the key of who asks it."""
    key, line = make_key("ann")
    (folder / "keys.txt").write_text(line + "\n")
    return {"API_KEYS_FILE": str(folder / "keys.txt"), "API_KEY": key}
