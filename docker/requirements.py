"""Write what the image installs: requirements from pyproject.toml, and constraints that name the build of torch."""

import re
import sys
import tomllib
from pathlib import Path


def main(torch_build: str) -> None:
    """`torch_build` empty: whichever build of the tested torch pip prefers; `cpu`, `cu130`, ...: that one or none."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    Path("requirements.txt").write_text("\n".join(project["dependencies"]) + "\n", encoding="utf-8")
    if torch_build:
        tested = Path("constraints.txt").read_text(encoding="utf-8")
        exact = re.sub(r"^(torch==\S+)$", rf"\1+{torch_build}", tested, flags=re.MULTILINE)
        Path("constraints.txt").write_text(exact, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
