"""A tiny training run: its configuration, and what it leaves."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "scripted_run.py"

RUN = {
    "epochs": 4,
    "batch_size": 8,
    "input_size": 32,
    "threads": 1,
    "architecture": {"backbone": "resnet18"},
    "loss": {
        "epsilon": "4/255",
        "step_size": "2/255",
        "perturb_steps": 2,
        "natural_epochs": 1,
        "epsilon_warmup_epochs": 1,
    },
    "spatial": {"warmup_epochs": 1},
    "augment": {"backdrop": 0, "grey": 0, "saturation": 0},
    "optimizer": {"ema_decay": 0.9},
    "validation": {"photos": 16, "perturb_steps": 3},
}


def run_table(**changes: Any) -> dict[str, Any]:
    """RUN with other values; in fewer epochs it rises to its full strength as much sooner, in a single step at once."""
    table = RUN | changes
    share = min(table["epochs"] / RUN["epochs"], 1) if table["epochs"] > 0.25 else 0
    for section in ("loss", "spatial"):
        schedule = {key: share * value for key, value in table[section].items() if key.endswith("_epochs")}
        table[section] = table[section] | schedule
    return table


def run(command: list[object], **script: object) -> "subprocess.CompletedProcess[str]":
    """A command to its end, which none of them takes half an hour to reach; `script` is for `PROGRAM` in it."""
    given = {"OMP_NUM_THREADS": 1, "PYTHONPATH": ROOT, **script}
    environment = os.environ | {key: str(value) for key, value in given.items()}
    words = list(map(str, command))
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=1800)


def lines(out: Path) -> list[str]:
    file = out / "metrics.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def figures(out: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in json.loads(line).items() if k != "images_per_s"} for line in lines(out)]


def toml(table: dict[str, object]) -> str:
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for section, values in table.items():
        if isinstance(values, dict):
            plain += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(plain)
