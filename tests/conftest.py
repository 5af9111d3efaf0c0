"""What tests share: where the real photos are, and a loud skip where they are not."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With TRADES_BOB_REQUIRE_ALL no skip is quiet: it fails, unless the test needs a CUDA device."""
    report = yield
    if report.skipped and os.environ.get("TRADES_BOB_REQUIRE_ALL") and not item.get_closest_marker("gpu"):
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the user's photo cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADES_BOB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The tests' networks and pictures gain nothing from threads, and lose much on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `val` of coloured noise that any network learns in a few steps: bicycles bluish, birds reddish."""
    root = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 8)):
        for label, channel in (("bicycle", 2), ("bird", 0)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 120, (40, 48, 3), dtype=np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return root
