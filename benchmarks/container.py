"""The container's figures: size by part, time to ready, to stop, and to rebuild after a change of code.

    python benchmarks/container.py --bundle DIR [--wheels DIR] [--name NAME] [--rounds N] [--cold]

Needs a Docker engine (DOCKER_HOST). Builds the unmodified Dockerfile as trades-bob:benchmark, with the package index's
torch unless `--wheels` holds another; the container has 2 CPUs, no GPU and a read-only root. The first round of each
figure warms up and is left out. `--cold` also times a build without any cache. Prints JSON and writes it to
benchmarks/results/NAME.json (`container`). `--rounds 0` measures sizes alone: `--name container_cuda --rounds 0`
without `--wheels` is what the CUDA build of torch takes.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import httpx

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "trades-bob:benchmark"
TARGETS = {"image_bytes": 1_300_000_000, "ready_s": 10, "stop_s": 5, "rebuild_after_code_change_s": 10}
TORCH = "import importlib.metadata as m; print(m.version('torch'))"
PACKAGES = """
import importlib.metadata, json
sizes = {
    package.name: sum(file.locate().stat().st_size for file in package.files or () if file.locate().is_file())
    for package in importlib.metadata.distributions()
}
print(json.dumps(dict(sorted(sizes.items(), key=lambda entry: -entry[1])[:20])))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--name", default="container")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    contexts = ["--build-context", f"bundle={given.bundle.resolve()}"]
    contexts += ["--build-context", f"wheels={given.wheels.resolve()}"] if given.wheels else []
    with tempfile.TemporaryDirectory() as folder:
        report = _measure(_copy(Path(folder)), contexts, given.rounds, given.cold)
    report["config"]["backbone"] = json.loads((given.bundle / "bundle.json").read_text())["architecture"]["backbone"]
    text = json.dumps(report, indent=2)
    (ROOT / "benchmarks" / "results").mkdir(exist_ok=True)
    (ROOT / "benchmarks" / "results" / f"{given.name}.json").write_text(text + "\n")
    print(text)


def _measure(tree: Path, contexts: list[str], rounds: int, cold: bool) -> dict[str, Any]:
    cold_s = _build(tree, contexts, "--no-cache") if cold else None
    _build(tree, contexts)
    engine = docker.from_env()
    return {
        "benchmark": "container",
        "image_bytes": _sizes(engine),
        "largest_packages_bytes": json.loads(_inside(engine, PACKAGES)),
        **(_timings(engine, tree, contexts, rounds) if rounds else {}),
        "build_without_cache_s": cold_s,
        "targets": TARGETS,
        "config": {"rounds": rounds, "warm_up_rounds": 1, "cpus": 2},
        "machine": {"cores": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 1), "kernel": platform.release()},
        "versions": {"docker": engine.version()["Version"], "torch": _inside(engine, TORCH)},
        "commit": subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip(),
    }


def _timings(engine: docker.DockerClient, tree: Path, contexts: list[str], rounds: int) -> dict[str, dict[str, float]]:
    runs = _rounds(lambda: _run(engine), rounds)
    return {
        **{name: _summary([run[name] for run in runs]) for name in runs[0]},
        "rebuild_after_code_change_s": _summary(_rounds(lambda: _rebuild(tree, contexts), rounds)),
    }


def _copy(folder: Path) -> Path:
    """The checkout's files, so that a change for the benchmark touches none of them."""
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in filter(None, files.split("\0")):
        if not name.startswith("model/release/") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def _build(tree: Path, contexts: list[str], *options: str) -> float:
    started = time.monotonic()
    command = ["docker", "build", "--quiet", "--tag", IMAGE, *contexts, *options, str(tree)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return round(time.monotonic() - started, 2)


def _rebuild(tree: Path, contexts: list[str]) -> float:
    with (tree / "server" / "__init__.py").open("a") as file:
        file.write(f"# {time.time_ns()}\n")
    return _build(tree, contexts)


def _rounds(measure: Callable[[], Any], rounds: int) -> list[Any]:
    return [measure() for _ in range(rounds + 1)][1:]


def _run(engine: docker.DockerClient) -> dict[str, float]:
    """Start, wait for /readyz, stop."""
    container = engine.containers.create(IMAGE, nano_cpus=2 * 10**9, read_only=True)
    try:
        started = time.monotonic()
        container.start()
        container.reload()
        url = f"http://{container.attrs['NetworkSettings']['Networks']['bridge']['IPAddress']}:8000/readyz"
        while not _ready(url):
            time.sleep(0.05)
        ready_s = time.monotonic() - started
        stats = container.stats(stream=False)
        stopping = time.monotonic()
        container.stop(timeout=30)
        stop_s = time.monotonic() - stopping
    finally:
        container.remove(force=True)
    memory = stats["memory_stats"]
    return {
        "ready_s": ready_s,
        "cpu_s_until_ready": stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        "memory_mib_when_ready": (memory["usage"] - memory["stats"]["inactive_file"]) / 2**20,
        "stop_s": stop_s,
    }


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _sizes(engine: docker.DockerClient) -> dict[str, int]:
    image = engine.images.get(IMAGE)
    parts = {"packages": "COPY /opt/venv", "weights": "COPY /bundle", "code": "RUN"}
    sizes = {
        name: sum(entry["Size"] for entry in image.history() if (entry["CreatedBy"] or "").startswith(start))
        for name, start in parts.items()
    }
    return {"total": image.attrs["Size"], **sizes, "base": image.attrs["Size"] - sum(sizes.values())}


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 2), "largest": round(max(values), 2), "n": len(values)}


def _inside(engine: docker.DockerClient, script: str) -> str:
    """What a Python script prints in the image."""
    return str(engine.containers.run(IMAGE, ["python", "-c", script], remove=True).decode().strip())


if __name__ == "__main__":
    main()
