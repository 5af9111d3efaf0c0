"""Memory of large pictures that come together: never more than their room, whatever format takes the most."""

import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.live_server import ROOT, live_server
from tests.pictures import encoded

pytestmark = pytest.mark.integration
SIDE = 2000
BYTES_PER_PIXEL = 30
"""What the manual promises. WebP with alpha takes the most: 17."""

ONE_PICTURE = """
import re, sys
from pathlib import Path
from model.pixels import load_square

def most():
    return int(re.findall(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[0]) * 1024

load_square(Path(sys.argv[1]), 32)
before = most()
load_square(Path(sys.argv[2]), 32)
print(most() - before)
"""


def memory(pid: int, name: str) -> int:
    return int(re.findall(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_many_large_pictures_take_the_memory_of_those_that_have_room(tmp_path: Path) -> None:
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[::100] = 200
    body = encoded(pixels, "WEBP", method=0)
    (tmp_path / "bundle.json").write_text("a" * 64)
    settings = {
        "decode_threads": 6,
        "max_decoding_pixels": 2 * SIDE**2,
        "MALLOC_TRIM_THRESHOLD_": resource.getpagesize(),
    }
    with live_server(tmp_path, tmp_path, "tests.fake_runtime:open_runtime", **settings) as server:

        def ask(_: int) -> int:
            answer = httpx.post(
                f"{server.url}/predict", content=body, headers={"content-type": "image/webp"}, timeout=60
            )
            return answer.status_code

        ask(0)
        before = memory(server.process.pid, "VmRSS")
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
        with ThreadPoolExecutor(12) as pool:
            assert set(pool.map(ask, range(12))) == {200}
        taken = memory(server.process.pid, "VmHWM") - before
    assert taken < 2 * SIDE**2 * BYTES_PER_PIXEL + 20 * 2**20
    assert taken > SIDE**2 * BYTES_PER_PIXEL / 2, "nothing was measured"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_transparent_picture_is_held_twice(tmp_path: Path) -> None:
    """As it is decoded, and over white: 4 bytes a pixel each."""
    for name, side in (("small", 200), ("large", SIDE)):
        (tmp_path / name).write_bytes(encoded(np.full((side, side, 4), 128, np.uint8), "PNG"))
    done = subprocess.run(
        [sys.executable, "-c", ONE_PICTURE, tmp_path / "small", tmp_path / "large"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert 1.8 < int(done.stdout) / (4 * SIDE**2) < 2.8
