"""Requests while every decoding thread is busy: the deadline and a client's leaving end them, forms too."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.datastructures import Headers

import server.contents
from server.batcher import Batcher
from server.bodies import ClientGone
from server.problems import Unavailable
from server.service import Service
from server.settings import Settings
from tests.fake_runtime import SIZE, square
from tests.pictures import encoded

pytestmark = pytest.mark.unit
FORM = b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n' + encoded(square("bird")) + b"\r\n--b--\r\n"


@asynccontextmanager
async def busy_service(tmp_path: Path, timeout_s: float) -> AsyncIterator[Service]:
    """A service whose only decoding thread is at something else until the end."""
    service, go, begun = (
        Service(Settings(decode_threads=1, request_timeout_s=timeout_s), tmp_path),
        threading.Event(),
        [],
    )
    memory = SimpleNamespace(slots=np.zeros((8, SIZE, SIZE, 3), np.uint8))
    service.engine = SimpleNamespace(batcher=Batcher(8, 8, lambda *_: None), memory=memory)  # type: ignore[assignment]
    service._pool.threads.submit(lambda: begun.append(1) or go.wait(30))
    while not begun:
        await asyncio.sleep(0.001)
    yield service
    go.set()
    await service._pool.threads.submit(lambda: None).done  # all that was called off has come up by now
    assert service.engine.batcher.in_house == 0
    service._pool.close()


@pytest.mark.parametrize(("gone", "error"), [(False, Unavailable), (True, ClientGone)])
@pytest.mark.parametrize(
    ("kind", "method", "field"),
    [
        ("multipart/form-data; boundary=b", "predict", b"image"),
        ("multipart/form-data; boundary=b", "predict_batch", b"images"),
        ("image/png", "predict", b"image"),
    ],
)
def test_what_waits_for_a_thread_ends_with_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, method: str, field: bytes, gone: bool, error: type
) -> None:
    calls: list[str] = []
    for name in ("read_form", "decode_picture"):
        monkeypatch.setattr(server.contents, name, lambda *_, name=name: calls.append(name))
    messages = [{"type": "http.request", "body": FORM % field}, *[{"type": "http.disconnect"}] * gone]

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0 if messages else 60)
        return messages.pop(0)

    async def run() -> None:
        async with busy_service(tmp_path, 30 if gone else 0.1) as service:
            with pytest.raises(error):
                await asyncio.wait_for(
                    getattr(service, method)(Headers({"content-type": kind}), receive, "1.2.3.4"), timeout=30
                )
            assert service.budget.held == 0

    asyncio.run(run())
    assert calls == []
