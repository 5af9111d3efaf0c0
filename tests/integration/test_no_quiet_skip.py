"""What .ci/run rests on: with TRADES_BOB_REQUIRE_ALL a skipped test fails, unless it needs a CUDA device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = """
import pytest

@pytest.fixture
def engine():
    pytest.skip("no engine")

def test_itself():
    pytest.skip("no photos")

def test_by_fixture(engine):
    pass

@pytest.mark.gpu
@pytest.mark.skipif(True, reason="no CUDA device")
def test_gpu():
    pass
"""


@pytest.mark.parametrize(("demand", "last"), [("1", "1 failed, 1 skipped, 1 error"), ("", "3 skipped")])
def test_a_skip_is_a_failure_where_all_is_demanded(tmp_path, demand, last):
    (tmp_path / "test_skips.py").write_text(TESTS)
    environment = os.environ | {"TRADES_BOB_REQUIRE_ALL": demand, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), str(tmp_path / "test_skips.py")]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert last in run.stdout.splitlines()[-1]
