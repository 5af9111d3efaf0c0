"""`trades-bob evaluate` on the GPU machine, in parts: rows that are finished stay, and are not run again."""

import json
import subprocess
import sys
import time
from typing import Any, Final

from tools.gpu.plan import Plan
from tools.gpu.record import record

EVALUATED: Final = ("clean,corruptions,spatial", "spsa", "boundary")
"""The rows of the full profile, in parts."""
LAST_S: Final = 8.0
"""Of the time, for the JSON of what is done when that is over."""


def evaluate_box(plan: Plan, seconds: float) -> tuple[bool, str]:
    """Evaluate for at most so many seconds; whether all rows are finished, and those that are, in a line."""
    ends_at = time.monotonic() + seconds - LAST_S
    parts, limit = (("clean", "pgd"), 2) if plan.rehearse else (EVALUATED, 250)
    line = ""
    for part in parts:
        done = {row["name"] for report in _reports(plan) for row in report["attacks"]}
        missing = [row for row in part.split(",") if row not in done]
        finished = not missing or _in_time(_command(missing, plan, limit), ends_at)
        line = _record(plan, limit)
        if not finished:
            return False, line
        print(f"= {line}", flush=True)
    return True, line


def _command(rows: list[str], plan: Plan, limit: int) -> list[str]:
    out = plan.state / "evaluation" / "-".join(rows)
    command = [sys.executable, "-m", "trades_bob", "evaluate", "--bundle", str(plan.bundle), "--out", str(out)]
    command += ["--images", str(plan.photos / "shifted"), "--attacks", ",".join(rows), "--limit", str(limit)]
    return [*command, "--device", plan.device]


def _in_time(command: list[str], ends_at: float) -> bool:
    """Run it until then; whether it came to its end. Raises CalledProcessError where that is a failure."""
    try:
        subprocess.run(command, check=True, timeout=max(ends_at - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        return False
    return True


def _reports(plan: Plan) -> list[dict[str, Any]]:
    """The reports so far, which may lack rows, in the order of their time."""
    files = sorted((plan.state / "evaluation").glob("*/report.json"), key=lambda file: file.stat().st_mtime)
    return [json.loads(file.read_text()) for file in files]


def _record(plan: Plan, limit: int) -> str:
    """The rows of all reports so far as gpu-evaluate.json, and in a line."""
    reports = _reports(plan)
    names = ("name", "n", "accuracy_at_80", "accuracy_at_100", "interval_at_80", "seconds", "queries")
    rows = [
        {name: row[name] for name in names}
        for report in reports
        for row in report["attacks"]
        if row["name"] != "worst"  # of a part, it would be taken for that of the whole
    ]
    seconds = round(sum(report["seconds"] for report in reports), 1)
    weights = sorted({report["model"]["sha256"] for report in reports})
    config = {"weights_sha256": weights, "photos": "shifted, as they were packed", "profile": "full", "limit": limit}
    record(plan, "evaluate", {"seconds": seconds, "attacks": rows}, config)
    return f"{seconds:.0f} s: " + ", ".join(f"{row['name']} {row['accuracy_at_80']:.1%}" for row in rows)
