"""Every TOML that a user writes: what Python's parser stumbles over, and wrong types, are one line that names them."""

import re
from pathlib import Path

import pytest

from attack.check.rules import read_rules
from attack.wire.foreign import read_endpoint
from model.errors import ConfigError
from train.config import read_config

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("read", [read_config, read_endpoint, lambda file: read_rules(str(file))])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "1" * 5000, "no TOML: a number has too many digits"),
        ("a = 0x" + "1" * 5000, "a number has too many digits"),
        ("a = " + "[" * 5000 + "]" * 5000, "no TOML: nested too deeply"),
        (f"[{'.'.join('a' * 5000)}]", "nested too deeply"),
        ("a = ", "no TOML: Invalid value (at end of document)"),
        ("a = '\udcff'", "no TOML: 'utf-8' codec can't decode byte 0xff"),
    ],
    ids=["digits", "hexadecimal", "brackets", "tables", "cut", "bytes"],
)
def test_what_no_parser_takes_is_one_line(read, text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError, match=f"^{file}: {re.escape(said)}"):
        read(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input_size = 224.0", "input_size: Input should be a valid integer"),
        ("input_size = true", "input_size: Input should be a valid integer"),
        ("other = 1", "other: Input should be 'abstain' or 'error'"),
        ("another = 1", "another: unknown key"),
        ("[request]\nencoding = 'jpeg'", "request: encoding 'jpeg' is lossy"),
    ],
)
def test_a_mistake_in_the_description_of_an_endpoint_names_the_key(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "there.toml"
    file.write_text(f"url = 'http://127.0.0.1:9'\n{text}\n")
    with pytest.raises(ConfigError, match=f"^{file}: {said}"):
        read_endpoint(file)
