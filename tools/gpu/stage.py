"""What travels to a GPU machine beside the repository: photos, wheels, the commit; and what all of it weighs."""

import subprocess
from pathlib import Path
from typing import Final

from tools.gpu.pack import QUALITY, SIDE, pack
from tools.gpu.plan import PHOTOS
from tools.gpu.wheels import PYTHON, download

WHEELS, COMMIT = "wheels", "commit"
STAYS: Final = ("model/release/model.safetensors",)
"""Tracked files that stay at home: 47 MB that would leave no room for photos."""
LIMIT_BYTES: Final = 64 * 2**20


def stage(
    photos: Path, out: Path, side: int = SIDE, quality: int = QUALITY, limit: int | None = None, python: str = PYTHON
) -> dict[str, int]:
    """Fill `out` and return what travels, in bytes: `repository` (without `STAYS`), `photos`, `wheels`, `all`.

    `limit`: at most so many photos of each split, for a rehearsal.
    """
    pack(photos, out / PHOTOS, side, quality, limit)
    download(out / WHEELS, Path("constraints.txt"), python)
    (out / COMMIT).write_text(_git("rev-parse", "HEAD").strip() + "\n")
    return weigh(out)


def weigh(carried: Path) -> dict[str, int]:
    """Bytes by what they are; tracked files as they lie in the folder now."""
    tracked = [Path(name) for name in _git("ls-files", "-z").split("\0") if name and name not in STAYS]
    sizes = {
        "repository": sum(path.stat().st_size for path in tracked if path.is_file()),
        "photos": (carried / PHOTOS).stat().st_size if (carried / PHOTOS).exists() else 0,
        "wheels": sum(file.stat().st_size for file in carried.glob(f"{WHEELS}/*.whl")),
    }
    return {**sizes, "all": sum(sizes.values())}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
