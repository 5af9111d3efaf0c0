"""A step's figures as benchmarks/results/gpu-NAME.json would have them: with device, driver, versions and commit."""

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import cpu_name
from model.files import write_json
from tools.gpu.plan import Plan

PACKAGES = ("torch", "torchvision", "kornia", "numpy", "onnxruntime", "fastapi", "uvicorn", "pillow")


def record(plan: Plan, name: str, result: dict[str, Any], config: dict[str, Any]) -> None:
    """Write STATE/results/gpu-NAME.json."""
    plan.results.mkdir(parents=True, exist_ok=True)
    report = {
        "benchmark": f"gpu-{name}",
        **result,
        "config": config,
        "machine": machine(plan.device),
        "versions": {"python": platform.python_version(), **_versions()},
        "commit": plan.commit,
    }
    write_json(plan.results / f"gpu-{name}.json", report)


def adopt(plan: Plan, file: Path, name: str) -> dict[str, Any]:
    """The report of a script of benchmarks/ as one of ours; its content."""
    report: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    config = report.pop("config", {})
    result = {key: value for key, value in report.items() if key not in ("benchmark", "machine", "versions", "commit")}
    record(plan, name, result, config)
    return result


def machine(device: str) -> dict[str, Any]:
    """The GPU, its driver and memory, and the CPU beside it."""
    cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "driver": _driver() if cuda else None,
        "cuda": torch.version.cuda,
        "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1) if cuda else None,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
    }


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
