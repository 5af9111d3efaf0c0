"""The Dockerfile: what is in the image, what is not, and what stops the build."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from model.bundle import read_metadata

pytestmark = pytest.mark.container

IMAGE = "trades-bob"
ROOT = Path(__file__).resolve().parent.parent.parent
MAX_CPU_IMAGE_BYTES = 1_300_000_000


def inside(engine, *command):
    """What a command prints in the image, run as root so that nothing is hidden from it."""
    return engine.containers.run(IMAGE, list(command), user="0", network_mode="none", remove=True).decode()


def test_the_image_is_small_and_says_what_it_is(image):
    config = image.attrs["Config"]
    assert image.attrs["Size"] <= MAX_CPU_IMAGE_BYTES
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["trades-bob", "serve"]
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= set(config["Env"])
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_image_holds_no_compiler_no_cache_and_no_pip_of_its_own(engine, image):
    """Not even files that only a compiler reads. The base image's own are not this project's."""
    folders = "~root/.cache/* /var/cache/pip /tmp/* /var/tmp/*"
    left = f"ls -dA {folders} /opt/venv/bin/pip* /opt/venv/lib/python3*/site-packages/pip"
    read = "find /opt/venv /report /bundle -name '*.h' -o -name '*.hpp' -o -name '*.a' -o -name '*.whl'"
    script = f"command -v gcc cc g++ clang make ld; {left} 2>/dev/null; {read}; true"
    assert inside(engine, "sh", "-c", script) == ""


def test_the_image_holds_the_tested_versions(engine, image):
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    script = "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    installed = dict(json.loads(inside(engine, "python", "-c", script)))
    for name in ("torch", "onnxruntime", "numpy", "pillow", "fastapi"):
        assert installed[name].partition("+")[0] == tested[name]


def test_the_build_script_fills_in_every_label(environment, image, bundle, engine):
    """docker/build, as the guide has it; its image differs from the other tests' in the labels alone."""
    wheels = environment.get("TRADES_BOB_WHEELHOUSE")
    contexts = ["--build-context", f"wheels={wheels}"] if wheels else []
    given = environment | {"BUNDLE": str(bundle)}
    built = subprocess.run(
        [ROOT / "docker" / "build", *contexts], env=given, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    labelled = engine.images.get(IMAGE)
    assert labelled.attrs["RootFS"]["Layers"] == image.attrs["RootFS"]["Layers"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = labelled.labels
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == head.stdout.strip()
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert labels["trades-bob.weights-sha256"] == read_metadata(bundle).weights_sha256


def test_a_wrong_announced_hash_stops_the_build(build, bundle):
    built = build(
        "--build-context", f"bundle={bundle}", "--build-arg", "WEIGHTS_SHA256=" + "0" * 64, "--target=weights"
    )
    assert built.returncode != 0
    assert "the build argument WEIGHTS_SHA256 says 0000" in built.stderr


def test_no_bundle_stops_the_build_in_one_line(build, tmp_path):
    built = build("--build-context", f"bundle={tmp_path}", "--target=weights")
    assert built.returncode != 0
    assert "trades-bob image: no bundle to bake in: put one into model/release" in built.stderr
    assert "Traceback" not in built.stderr


def test_an_altered_bundle_stops_the_build_in_one_line(build, bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "altered")
    weights = tmp_path / "altered" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    built = build("--build-context", f"bundle={tmp_path / 'altered'}", "--target=weights")
    assert built.returncode != 0
    assert "truncated or altered" in built.stderr
    assert "Traceback" not in built.stderr


def test_a_change_of_code_repeats_no_large_layer(build, bundle, engine, image, tmp_path):
    tree = tmp_path / "tree"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("model/release/"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    with (tree / "server" / "__init__.py").open("a") as file:
        file.write("CHANGED = True\n")
    built = build("--tag", "trades-bob:changed", "--build-context", f"bundle={bundle}", tree=tree)
    assert built.returncode == 0, built.stderr[-2000:]
    before, after = image.attrs["RootFS"]["Layers"], engine.images.get("trades-bob:changed").attrs["RootFS"]["Layers"]
    changed = [index for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    sizes = [entry["Size"] for entry in reversed(engine.images.get("trades-bob:changed").history()) if entry["Size"]]
    assert changed
    assert sum(sizes[index] for index in changed if index < len(sizes)) < 10_000_000
