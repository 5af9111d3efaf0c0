"""The table of docs/training.md: every key of a run's TOML with its default and meaning, read from train/config.py.

    python docs/settings.py

rewrites the part of the page below its marker; a test says when that is due.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from train.config import TrainConfig

PAGE: Final = Path(__file__).with_name("training.md")
MARKER: Final = "<!-- below: python docs/settings.py -->\n"


def table() -> str:
    """One table for the keys outside any section, and one for each section."""
    return "\n".join(_sections(TrainConfig, ""))


def _sections(section: type[BaseModel], name: str) -> Iterator[str]:
    inner = {key: field for key, field in section.model_fields.items() if _is_section(field.annotation)}
    if name:
        yield f"\n## `[{name}]`\n"
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for key, field in section.model_fields.items():
        if key not in inner:
            default = "required" if field.is_required() else f"`{_written(field.default)}`"
            yield f"| `{key}` | {default} | {' '.join((field.description or '').split())} |"
    for key, field in inner.items():
        assert isinstance(field.annotation, type)
        yield from _sections(field.annotation, key)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _written(value: object) -> str:
    """As a TOML would say it; `none` where a key may only be left out."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, float) and 0 < value < 0.2 and round(value * 255, 9).is_integer():
        return f'"{round(value * 255)}/255"'
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Write the page anew."""
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARKER)
    PAGE.write_text(f"{head}{MARKER}\n{table()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
