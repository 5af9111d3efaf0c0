"""The packages that a GPU machine's own torch installation lacks, as wheels for a machine without a network.

Torch, torchvision, NumPy and CUDA are never among them: they are the machine's own.
"""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

PYTHON: Final = "3.12"
GLIBC: Final = ("2_28", "2_27", "2_17")
MISSING: Final = (
    "annotated-types",
    "fastapi",
    "httptools",
    "kornia",
    "kornia_rs",
    "opentelemetry-api",
    "pydantic",
    "pydantic-settings",
    "pydantic_core",
    "python-dotenv",
    "python-multipart",
    "simplejpeg",
    "sniffio",
    "starlette",
    "structlog",
    "typing-inspection",
    "uvicorn",
    "xxhash",
)
"""Not in an image for deep learning: what the project needs, and what that needs."""
THERE: Final = (
    "annotated-doc",
    "anyio",
    "click",
    "h11",
    "httpcore",
    "httpx",
    "jinja2",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "pillow",
    "prometheus-client",
    "pytest",
    "rich",
    "safetensors",
    "torch",
    "torchvision",
    "typer",
    "typing-extensions",
    "uvloop",
)
"""In the image, as far as the project and the wheels need it; so is what these need."""


def download(out: Path, constraints: Path, python: str = PYTHON) -> list[Path]:
    """The wheels in `out`, of the versions in `constraints`, for Linux on x86-64 and this Python."""
    versions = pinned_versions(constraints)
    wanted = [f"{name}=={versions[name.lower()]}" for name in MISSING]
    platforms = [*(f"manylinux_{glibc}_x86_64" for glibc in GLIBC), "manylinux2014_x86_64", "manylinux1_x86_64"]
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.whl"):  # two versions of a package would stop the installation
        old.unlink()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "--dest", str(out)]
    subprocess.run([*command, *(f"--platform={name}" for name in platforms), *wanted], check=True)
    return sorted(out.glob("*.whl"))


def install(wheels: Path, site: Path) -> None:
    """Unpack the wheels into `site`, for PYTHONPATH; nothing is fetched. Raises ValueError where pip does not."""
    files = [str(file) for file in sorted(wheels.glob("*.whl"))]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    command += ["--no-cache-dir", "--upgrade", "--target", str(site)]
    if subprocess.run([*command, *files], check=False).returncode:
        here = platform.python_version()
        raise ValueError(
            f"{wheels}: pip cannot install them on Python {here}; `stage --python` brings those of another"
        )


def pinned_versions(constraints: Path) -> dict[str, str]:
    """`name==version` lines -> versions by the name in lower case."""
    lines = (line.strip() for line in constraints.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower(): version for name, version in pairs}
