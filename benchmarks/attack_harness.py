"""What benchmarks share: where they ran, and a bundle served over HTTP by a process of its own."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import cpu_name

ROOT = Path(__file__).resolve().parent.parent


def machine(*packages: str) -> dict:
    """Processor, cores, versions and commit."""
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "load": [round(load, 1) for load in os.getloadavg()]},
        "versions": {"python": platform.python_version(), **versions},
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else ""),
    }


@contextmanager
def serving_bundle(bundle: Path | None = None, *options: str) -> Iterator[str]:
    """The URL of a plain endpoint (tests/toy_endpoint.py) in a process of its own; without a bundle, brightness."""
    command = [sys.executable, str(ROOT / "tests" / "toy_endpoint.py"), *options]
    command += ["--bundle", str(bundle)] if bundle else []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def told(result: dict, file: Path | None) -> None:
    """Print a result as JSON, and keep it in a file."""
    text = json.dumps(result, indent=2)
    print(text)
    if file:
        file.write_text(text + "\n")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
