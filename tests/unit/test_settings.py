"""Settings: each is documented where users look, and mistakes name the variable."""

import re
import runpy
from pathlib import Path

import pytest

from model.errors import ConfigError
from server.openapi import openapi_document
from server.problems import PROBLEMS
from server.settings import Settings, read_settings
from train.official.settings import DownloadSettings
from train.official.settings import read_settings as read_download_settings

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "service.md").read_text()


def documented() -> dict[str, str]:
    """Variable -> what the manual's table says of it."""
    return dict(re.findall(r"^\| `(TRADES_BOB_\w+)` \| .*? \| (.*) \|$", MANUAL, re.MULTILINE))


def test_the_manual_has_each_setting_in_the_words_of_the_code() -> None:
    told = {
        f"TRADES_BOB_{name.upper()}": " ".join((field.description or "").split())
        for name, field in Settings.model_fields.items()
    }
    assert all(told.values())
    assert documented() == told


def test_the_manual_has_the_defaults() -> None:
    for name, field in Settings.model_fields.items():
        (default,) = re.findall(rf"^\| `TRADES_BOB_{name.upper()}` \| (.*?) \|", MANUAL, re.MULTILINE)
        if field.default_factory is None and field.default not in (None, ""):
            assert default.replace(",", "") == str(field.default).lower(), name


def test_the_manual_has_each_problem() -> None:
    for problem in PROBLEMS:
        assert f"| {problem.status} | `{problem.slug}` |" in MANUAL


def test_problems_are_unlike_each_other() -> None:
    assert len({problem.slug for problem in PROBLEMS}) == len(PROBLEMS)
    assert "502" not in str(openapi_document(64))


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_QUEUE", "many"), ("MAX_QUEUE", "0"), ("RUNTIME", "abacus"), ("PORT", "70000"), ("KEEP_ALIVE_S", "inf")],
)
def test_mistakes_name_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TRADES_BOB_{name}", value)
    with pytest.raises(ConfigError, match=f"^TRADES_BOB_{name}: "):
        read_settings()


def test_a_machine_with_more_cpus_than_decoding_threads_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADES_BOB_DECODE_THREADS", raising=False)
    for cpus, threads in ((128, 64), (3, 3)):
        monkeypatch.setattr("server.settings.usable_cpus", lambda count=cpus: count)
        assert Settings(decode_threads=Settings().decode_threads).decode_threads == threads


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEYS_FILE", "MAX_QUEUE", "BUNDLE"):
        monkeypatch.setenv(f"TRADES_BOB_{name}", "")
    settings = read_settings()
    assert (settings.api_keys_file, settings.bundle, settings.max_queue) == (None, None, 256)


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADES_BOB_PORT", "1234")
    assert read_settings().port == 1234
    assert read_settings(port=None).port == 1234
    assert read_settings(port=5).port == 5


def test_the_page_of_training_is_what_the_configuration_says() -> None:
    """Each key with its default and a meaning; `python docs/settings.py` writes it anew."""
    written = runpy.run_path(str(ROOT / "docs" / "settings.py"))["table"]()
    assert written in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert "|  |" not in written, "a key without a meaning"
    assert "| `ema_decay` | `0.995` |" in written


def test_the_download_settings_are_documented() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for name, field in DownloadSettings.model_fields.items():
        meaning = " ".join((field.description or "").split())
        assert meaning
        assert f"| `TRADES_BOB_DOWNLOAD_{name.upper()}` | {field.default} | {meaning} |" in manual


def test_mistakes_in_download_settings_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADES_BOB_DOWNLOAD_WORKERS", "none")
    with pytest.raises(ConfigError, match=r"^TRADES_BOB_DOWNLOAD_WORKERS: "):
        read_download_settings()
