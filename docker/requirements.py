"""Write what the image installs: requirements from pyproject.toml, and constraints that name the build of torch."""

import re
import sys
import tomllib
from pathlib import Path


def main(torch_build: str, out: Path) -> None:
    """`torch_build` empty: whichever build of the tested torch pip prefers; `cpu`, `cu130`, ...: that one or none."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = Path("constraints.txt").read_text(encoding="utf-8")
    if torch_build:
        constraints = re.sub(r"^(torch==\S+)$", rf"\1+{torch_build}", constraints, flags=re.MULTILINE)
    # New files, so that the modes of a checkout's own make no other layer of the same content.
    out.mkdir()
    (out / "requirements.txt").write_text("\n".join(project["dependencies"]) + "\n", encoding="utf-8")
    (out / "constraints.txt").write_text(constraints, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
