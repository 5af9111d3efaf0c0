"""What travels to a GPU machine beside the repository: photos, wheels, the commit; and what all of it weighs."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tools.gpu.pack import pack
from tools.gpu.plan import PHOTOS, QUALITY, RELEASE, SIDE
from tools.gpu.wheels import PYTHON, download

FIRST, SECOND, WHEELS, COMMIT = "first", "second", "wheels", "commit"
RELEASED: Final = Path("model/release")
STAYS: Final = (str(RELEASED / "model.safetensors"),)
"""Tracked files that are removed before the first call: with the repository they would travel in every one."""
LIMIT_BYTES: Final = 64 * 2**20
"""Of one call."""


def stage(
    photos: Path, out: Path, side: int = SIDE, quality: int = QUALITY, limit: int | None = None, python: str = PYTHON
) -> dict[str, int]:
    """Fill `out`/first with wheels and released weights, `out`/second with the photos; the answer is that of `weigh`.

    Together they are more than one call takes. `limit`: at most so many photos of each split, for a rehearsal.
    """
    pack(photos, out / SECOND / PHOTOS, side, quality, limit)
    download(out / FIRST / WHEELS, Path("constraints.txt"), python)
    shutil.copytree(RELEASED, out / FIRST / RELEASE, dirs_exist_ok=True)
    for part in (FIRST, SECOND):
        (out / part / COMMIT).write_text(_git("rev-parse", "HEAD").strip() + "\n")
    return weigh(out)


def weigh(carried: Path) -> dict[str, int]:
    """Bytes that travel: the repository as it lies there now, without `STAYS`, and each call with it."""
    tracked = [Path(name) for name in _git("ls-files", "-z").split("\0") if name and name not in STAYS]
    repository = sum(path.stat().st_size for path in tracked if path.is_file())
    parts = {part: sum(file.stat().st_size for file in (carried / part).rglob("*")) for part in (FIRST, SECOND)}
    return {"repository": repository, **{part: repository + size for part, size in parts.items()}}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
