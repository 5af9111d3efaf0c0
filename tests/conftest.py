"""What tests share: where the real photos are, and a loud skip where they are not."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _photos() -> Path | None:
    for candidate in (os.environ.get("TRADES_BOB_PHOTOS"), ROOT.parent / "shared" / "bob"):
        if candidate and (Path(candidate) / "val" / "bird").is_dir():
            return Path(candidate)
    return None


@pytest.fixture(scope="session")
def photos() -> Path:
    """Real photos: `train`, `val` and `shifted`, each with `bicycle/` and `bird/`. CI lets no such test be skipped."""
    found = _photos()
    if found is None:
        message = "real photos not found: set TRADES_BOB_PHOTOS to a folder with train/, val/ and shifted/"
        if os.environ.get("TRADES_BOB_REQUIRE_ALL"):
            pytest.fail(message)
        pytest.skip(message)
    return found
