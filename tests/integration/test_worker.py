"""The worker under its engine, without HTTP: where it finds its code, when it is ready, how it ends."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from server.batcher import Job
from server.engine import Engine
from server.process import WorkerConfig, WorkerProcess
from tests.fake_runtime import HANG, square

pytestmark = pytest.mark.integration


@pytest.fixture
def config(tmp_path: Path) -> WorkerConfig:
    (tmp_path / "bundle.json").write_text("a" * 64)
    return WorkerConfig(tmp_path, slots=4, options={}, factory="tests.fake_runtime:open_runtime")


def engine_for(config: WorkerConfig, request_timeout_s: float = 30) -> Engine:
    return Engine(config, 60, 60, request_timeout_s, on_batch=lambda _count, _seconds: None)


def test_packages_in_the_current_directory_are_not_taken_for_ours(
    config: WorkerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)

    async def restarts() -> int:
        engine = engine_for(config)
        engine.start()
        try:
            await asyncio.wait_for(engine.opened(), 60)
            return engine.restarts
        finally:
            engine.close()

    assert asyncio.run(restarts()) == 0


def test_a_machine_that_has_no_room_for_a_worker_is_asked_again(
    config: WorkerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def start(*given: Any) -> WorkerProcess:
        tries.append(given)
        if len(tries) == 2:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return WorkerProcess(*given)

    async def run() -> None:
        engine = engine_for(config)
        engine.start()
        try:
            await asyncio.wait_for(engine.opened(), 60)
            assert engine._worker is not None
            engine._worker.kill()
            async with asyncio.timeout(30):
                while len(tries) < 3 or engine.not_ready() is not None:
                    await asyncio.sleep(0.02)
        finally:
            engine.close()

    monkeypatch.setattr("server.engine.WorkerProcess", start)
    asyncio.run(run())


def test_a_worker_that_is_stuck_in_a_batch_is_not_ready(config: WorkerConfig) -> None:
    def submit(engine: Engine, colour: object) -> Job:
        slots = engine.batcher.reserve(1)
        engine.memory.slots[slots[0]] = colour
        return engine.batcher.submit(slots)

    async def until(engine: Engine, reason: str | None) -> None:
        async with asyncio.timeout(30):
            while engine.not_ready() != reason:
                await asyncio.sleep(0.02)

    async def run() -> None:
        engine = engine_for(config, request_timeout_s=1)
        engine.start()
        try:
            await asyncio.wait_for(engine.opened(), 60)
            await asyncio.wait_for(submit(engine, square("bird")[0, 0]).done, 30)
            await asyncio.sleep(1.5)  # longer than a batch may take
            await until(engine, None)
            submit(engine, HANG)
            await until(engine, "the worker is stuck in a batch")
        finally:
            engine.close()

    asyncio.run(run())
