"""What the serving benchmarks share: a load of many clients, CPU time and memory of a server, where it was measured."""

import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """What a load met: answers by status, seconds of each answer that was 200, connections lost without an answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    wall_s: float = 0.0

    @property
    def per_s(self) -> float:
        return self.statuses[200] / self.wall_s

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def request_bytes(path: str, content_type: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def closed_load(port: int, request: bytes, clients: int, stop: Callable[[int, float], bool]) -> Load:
    """`clients` connections, each asking again as soon as it is answered, until `stop(answers, seconds)`."""
    load, started = Load(), time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not stop(sum(load.statuses.values()), time.perf_counter() - started):
            try:
                await _ask(reader, writer, request, load)
            except (OSError, asyncio.IncompleteReadError):
                load.lost += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    load.wall_s = time.perf_counter() - started
    return load


async def open_load(port: int, request: bytes, per_s: float, seconds: float, connections: int = 128) -> Load:
    """Requests at a fixed rate, whether or not earlier ones are answered (up to `connections` at once)."""
    load, started = Load(), time.perf_counter()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    room = asyncio.Semaphore(connections)

    async def one() -> None:
        arrived = time.perf_counter()  # waiting for a connection counts
        async with room:
            while idle and idle[-1][0].at_eof():  # closed by the server after its idle time
                idle.pop()[1].close()
            reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
            try:
                await _ask(reader, writer, request, load, arrived)
                idle.append((reader, writer))
            except (OSError, asyncio.IncompleteReadError):
                load.lost += 1
                writer.close()

    tasks = []
    for number in range(int(per_s * seconds)):
        await asyncio.sleep(max(0.0, started + number / per_s - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    load.wall_s = time.perf_counter() - started
    return load


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, load: Load, since: float | None = None
) -> None:
    since = time.perf_counter() if since is None else since
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    load.statuses[status] += 1
    if status == 200:
        load.seconds.append(time.perf_counter() - since)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and its living descendants have used."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Memory of a process and its descendants; what they share counts once for each share (PSS)."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024


def write_result(name: str, result: dict[str, object], config: dict[str, object], packages: list[str]) -> None:
    """Print a result with where it was measured, and keep it as benchmarks/results/NAME.json."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    report = {
        "benchmark": name,
        **result,
        "config": config,
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "load_average": os.getloadavg()},
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "commit": commit,
    }
    text = json.dumps(report, indent=2)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def median(values: list[float]) -> float:
    return round(statistics.median(values), 4)


def cpu_name() -> str:
    """The processor's name; where the system does not tell it, the architecture's."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
