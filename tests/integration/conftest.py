"""A live service whose model is a stand-in, for tests of what surrounds it; modules with other needs have their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import LiveServer, live_server


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle.json").write_text("a" * 64)
    return tmp_path


@pytest.fixture
def server(bundle: Path) -> Iterator[LiveServer]:
    with live_server(bundle, bundle, "tests.fake_runtime:open_runtime") as live:
        yield live
