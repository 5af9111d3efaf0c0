"""Hostile requests in numbers: only 200 or 4xx with a reason, and the next good request is answered right."""

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.fake_runtime import square
from tests.hostile import attempt
from tests.live_server import NPY, LiveServer, live_server, npy

pytestmark = pytest.mark.integration
GOOD_EVERY = 25
AT_ONCE = 4


@pytest.mark.parametrize("count", [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_hostile_requests(tmp_path: Path, count: int) -> None:
    (tmp_path / "bundle.json").write_text("e" * 64)
    # The long form takes other seeds than the short one, so that together they see more.
    seeds = range(count, 2 * count)
    started = time.monotonic()
    with live_server(tmp_path, tmp_path, "tests.fake_runtime:open_runtime", max_body_bytes=8 * 2**20) as server:
        worker = server.worker_pid()
        statuses = asyncio.run(_send_all(server, list(seeds)))
        assert server.process.poll() is None
        assert server.worker_pid() == worker
        assert "Traceback" not in server.log
        assert '"request failed"' not in server.log
        assert '"decoding failed"' not in server.log
        metrics = httpx.get(f"{server.url}/metrics").text
        assert "trades_bob_images_in_house 0.0" in metrics
    assert sum(statuses.values()) == count
    if count > 1_000 and (folder := os.environ.get("TRADES_BOB_RESULTS")):
        seconds = round(time.monotonic() - started, 1)
        result = {"requests": count, "seeds": [count, 2 * count - 1], "answers": dict(statuses), "seconds": seconds}
        (Path(folder) / "hostile.json").write_text(json.dumps(result, indent=2) + "\n")
    assert set(statuses) <= {200, 400, 413, 415, 422}
    assert {200, 400, 413, 415, 422} <= set(statuses)  # the requests do reach every kind of refusal


async def _send_all(server: LiveServer, seeds: list[int]) -> Counter[int]:
    statuses: Counter[int] = Counter()

    async def send(client: httpx.AsyncClient, part: list[int]) -> None:
        for place, seed in enumerate(part):
            path, content_type, body = attempt(seed)
            try:
                answer = await client.post(path, content=body, headers={"content-type": content_type})
            except httpx.HTTPError as error:
                raise AssertionError(f"seed {seed}: {path} {content_type!r}, {len(body)} bytes") from error
            statuses[answer.status_code] += 1
            _expect_reason(answer, seed)
            if place % GOOD_EVERY == 0:
                good = await client.post("/predict", content=npy(square("bird")), headers=NPY)
                assert good.json() == {"label": "bird"}, seed

    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await asyncio.gather(*(send(client, seeds[start::AT_ONCE]) for start in range(AT_ONCE)))
    return statuses


def _expect_reason(answer: httpx.Response, seed: int) -> None:
    assert answer.status_code < 500, (seed, answer.text)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json", seed
        assert answer.json()["detail"], seed
