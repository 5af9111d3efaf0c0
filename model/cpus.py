"""How many CPUs this process may really use: its affinity and its container's quota, not the machine's count."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus() -> int:
    """CPUs by scheduling affinity, and no more than the control group's quota (`docker run --cpus`) allows."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota(_QUOTA)))


def _quota(file: Path) -> int:
    """The quota of a cgroup v2 file `MICROSECONDS PERIOD`, rounded up; a very large number where there is none."""
    unlimited = 1 << 16
    try:
        budget, period = file.read_text().split()
        return unlimited if budget == "max" else math.ceil(int(budget) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return unlimited
