"""TOML files that a user wrote, into the models that say what may stand in them."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from model.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
BEYOND: Final[Mapping[type, str]] = {ValueError: "a number has too many digits", RecursionError: "nested too deeply"}
"""What the parser says of these is about Python."""


def read_toml(file: Path) -> dict[str, Any]:
    """The table of a TOML file. Raises OSError, and ConfigError, one line naming the file, for what is no TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: no TOML: {BEYOND.get(type(error), error)}") from error


def from_table(kind: type[Model], table: Mapping[str, Any], source: str) -> Model:
    """A table as from TOML or JSON -> a model. Raises ConfigError naming `source` and the first key that is wrong.

    Types are strict, as those of JSON: `true` is no number, "2" and 8.0 are no integers; an integer is a number.
    """
    try:
        return kind.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source}: {key + ': ' if key else ''}{message}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: {BEYOND.get(type(error), error)}") from error
