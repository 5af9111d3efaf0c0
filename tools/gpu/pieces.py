"""A file as pieces small enough to travel, with hashes: cut here, joined there, and a broken piece is named."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

PIECE_BYTES: Final = 15 * 2**20


def cut(file: Path, out: Path, piece_bytes: int = PIECE_BYTES) -> list[Path]:
    """Write `file` to `out` as NAME.000, NAME.001, ... and NAME.json, which holds the hashes and comes last.

    An earlier cut of the same name is replaced piece by piece, each whole or not at all.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = file.read_bytes()
    parts = [content[start : start + piece_bytes] for start in range(0, len(content), piece_bytes)] or [b""]
    names = [f"{file.name}.{number:03}" for number in range(len(parts))]
    pieces = [{"name": name, "sha256": sha256(part)} for name, part in zip(names, parts, strict=True)]
    index = {"name": file.name, "bytes": len(content), "sha256": sha256(content), "pieces": pieces}
    waiting = [_beside(out / name, part) for name, part in zip(names, parts, strict=True)]
    waiting.append(_beside(out / f"{file.name}.json", json.dumps(index, indent=2).encode()))
    for old in out.glob(f"{file.name}.[0-9][0-9][0-9]"):
        if old.name not in names:
            old.unlink()
    for path in waiting:
        path.replace(path.with_name(path.name.removeprefix(".")))
    return [out / name for name in names]


def join(index_file: Path, out: Path) -> Path:
    """Put the pieces beside NAME.json together as OUT/NAME. Raises ValueError for a piece that is missing or broken."""
    index: dict[str, Any] = json.loads(index_file.read_text())
    content = b"".join(_piece(index_file.parent, piece) for piece in index["pieces"])
    if sha256(content) != index["sha256"]:
        raise ValueError(f"{index_file}: the pieces are whole, the file is not: were they cut at different times?")
    out.mkdir(parents=True, exist_ok=True)
    return _beside(out / index["name"], content).replace(out / index["name"])


def sha256(content: bytes) -> str:
    """The hex digest."""
    return hashlib.sha256(content).hexdigest()


def _piece(folder: Path, piece: dict[str, str]) -> bytes:
    path = folder / piece["name"]
    if not path.is_file():
        raise ValueError(f"{path}: this piece is missing")
    content = path.read_bytes()
    if sha256(content) != piece["sha256"]:
        raise ValueError(f"{path}: its SHA-256 is not the one in the index; bring it anew")
    return content


def _beside(path: Path, content: bytes) -> Path:
    hidden = path.with_name(f".{path.name}")
    with hidden.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hidden
