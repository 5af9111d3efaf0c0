"""Twice the load that the service can bear, for ten minutes: nothing lost, nothing but 200 and 503, no growth.

    python benchmarks/soak.py [--minutes M] [--bundle DIR]

The highest rate is measured first with 32 clients; then JPEGs come at twice that rate, whether or not earlier ones are
answered. Memory (PSS of all processes) is read every 5 s; growth compares the medians of the second and the last fifth.
"""

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

import httpx

from benchmarks.harness import closed_load, open_load, request_bytes, resident_bytes, write_result
from benchmarks.overhead import picture
from benchmarks.throughput import CLIENTS, random_bundle
from tests.live_server import LiveServer, live_server

SAMPLE_EVERY_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--max-queue", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = options.bundle or random_bundle(folder / "bundle")
        with live_server(folder, bundle, max_queue=options.max_queue) as server:
            result = asyncio.run(_soak(server, 60 * options.minutes))
    config = {"minutes": options.minutes, "max_queue": options.max_queue, "clients_for_highest_rate": CLIENTS}
    write_result("soak", result, config, ["onnxruntime", "fastapi", "uvicorn"])


async def _soak(server: LiveServer, seconds: float) -> dict[str, object]:
    request = request_bytes("/predict", "image/jpeg", picture())
    await closed_load(server.port, request, CLIENTS, lambda answers, _: answers >= 2 * CLIENTS)
    highest = await closed_load(server.port, request, CLIENTS, lambda _, elapsed: elapsed > min(20, seconds / 5))
    memory: list[int] = []
    sampler = asyncio.create_task(_sample(server.process.pid, memory))
    rate = 2 * highest.per_s
    load = await open_load(server.port, request, rate, seconds, connections=256)
    sampler.cancel()
    fifth = max(1, len(memory) // 5)
    early, late = statistics.median(memory[fifth : 2 * fifth]), statistics.median(memory[-fifth:])
    async with httpx.AsyncClient() as client:
        ready = (await client.get(f"{server.url}/readyz")).status_code
    return {
        "highest_images_per_s": round(highest.per_s, 1),
        "offered_per_s": round(rate, 1),
        "offered": int(rate * seconds),
        "answers": {str(status): count for status, count in sorted(load.statuses.items())},
        "lost": load.lost,
        "served_per_s": round(load.per_s, 1),
        "p99_s": round(load.percentile(0.99), 3),
        "resident_mb": round(max(memory) / 1e6),
        "growth": round(late / early - 1, 4),
        "ready_at_the_end": ready == 200,
    }


async def _sample(pid: int, memory: list[int]) -> None:
    while True:
        memory.append(await asyncio.to_thread(resident_bytes, pid))
        await asyncio.sleep(SAMPLE_EVERY_S)


if __name__ == "__main__":
    main()
