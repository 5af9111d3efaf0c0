"""The worker under its engine, without HTTP: where it finds its code, when it is ready, how it ends."""

import asyncio
from pathlib import Path

import pytest

from server.engine import Engine
from server.process import WorkerConfig

pytestmark = pytest.mark.integration


@pytest.fixture
def config(tmp_path: Path) -> WorkerConfig:
    (tmp_path / "bundle.json").write_text("a" * 64)
    return WorkerConfig(tmp_path, slots=4, options={}, factory="tests.fake_runtime:open_runtime")


def engine_for(config: WorkerConfig, worker_timeout_s: float = 60) -> Engine:
    return Engine(config, worker_timeout_s, on_batch=lambda _count, _seconds: None)


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
            await asyncio.wait_for(engine.opened(), 30)
            return engine.restarts
        finally:
            engine.close()

    assert asyncio.run(restarts()) == 0
