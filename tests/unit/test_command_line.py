"""The command line: exit codes, one line for a mistake, and that every command in the documents is real."""

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

import trades_bob
from attack.commands import _print_labels
from model.errors import DataError, RefusedError, TradesBobError, TrainingError, UnansweredError
from model.files import replace_file
from train.commands import _stopped

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.unit

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trades_bob", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)


def documented_commands() -> list[str]:
    blocks = [block for path in DOCUMENTS for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("trades-bob ")]


@pytest.mark.parametrize("line", documented_commands())
def test_every_documented_command_parses(line):
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(trades_bob.app)
    context = command.make_context("trades-bob", list(words))
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(words), parent=context)
    assert context.args == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "smoke", "--data", "nowhere", "--out", "x"], "nowhere/train/bicycle: no such folder"),
        (["train", "none.toml", "--data", "d", "--out", "x"], "none.toml: no such file; recipes"),
        (["train", "\x1b[2J.toml", "--data", "d", "--out", "x"], r"\x1b[2J.toml: no such file; recipes"),
        (["train", "smoke", "--data", "d", "--out", "x", "--device", "tpu"], "choose auto, cpu or cuda"),
        (["train", "smoke", "--data", "d", "--out", "x", "--minutes", "0"], "--minutes 0: give more than 0"),
        (["train", "smoke", "--out", "x"], "Missing option '--data'"),
        (["train", ".", "--data", "d", "--out", "x"], "trades-bob: .: Is a directory\n"),
        (["release", "bundle", "--photos", "p"], "Missing option '--out'"),
        (["release", "bundle", "--photos", "p", "--out", "/dev/null"], "/dev/null: no folder that can be written to"),
        (["release", "bundle", "--photos", "p", "--out", "/dev/null/x"], "/dev/null: no folder that can be written to"),
        (["release", "bundle", "--photos", "p", "--out", "n" * 300], "n: File name too long"),
        (["predict", "photo.jpg", "--bundle", "nowhere"], "nowhere/bundle.json: no such file"),
        (["serve", "--bundle", "nowhere"], "nowhere: no bundle there"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, said, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trades-bob", *arguments])
    with pytest.raises(SystemExit) as ended:
        trades_bob.main()
    shown = capfd.readouterr()
    assert ended.value.code == 2
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1
    assert shown.out == ""


def test_the_folder_of_a_json_file_is_made(tiny_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["trades-bob", "data", "verify", str(tiny_photos), "--json", f"{tmp_path}/a/b.json"]
    )
    with pytest.raises(SystemExit) as ended:
        trades_bob.main()
    assert ended.value.code in (0, None)
    assert json.loads((tmp_path / "a" / "b.json").read_text())["fit"]


@pytest.mark.parametrize(
    "command",
    [
        ["train", "smoke", "--data", "none", "--out", "x"],
        ["demo", "--out", "."],
        ["data", "verify", "none"],
        ["data", "download", "--out", "x"],
        ["attack", "--endpoint", "http://127.0.0.1:9", "--images", "none", "--out", "x"],
        ["evaluate", "--endpoint", "http://127.0.0.1:9", "--images", "none", "--out", "x"],
        ["check", "http://127.0.0.1:9", "--images", "none"],
    ],
)
def test_a_json_file_that_cannot_be_written_is_told_before_any_work(command, tmp_path, monkeypatch, capfd):
    """Each would find its photos missing, or fill a folder. Root may write to folders, but not into these."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    troubles = {".": "Is a directory", "file/x/y.json": "Not a directory", "n" * 300: "File name too long"}
    for name, reason in troubles.items():
        monkeypatch.setattr(sys, "argv", ["trades-bob", *command, "--json", name])
        with pytest.raises(SystemExit) as ended:
            trades_bob.main()
        assert capfd.readouterr().err == f"trades-bob: --json {name}: {reason}; name a file that can be written\n"
        assert ended.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_replaced_is_called_by_its_own_name(tmp_path):
    """Not by that of the temporary."""
    for path in (tmp_path, tmp_path / "none" / "file"):
        with pytest.raises(OSError, match=re.escape(f"'{path}'")):
            replace_file(path, b"")


def _limited(bytes_: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_what_an_encoding_lacks_is_escaped(encoding, tmp_path):
    """Other bytes of a path go to stdout as they are."""
    name = "ΩΩ".encode() + b"\xff"
    command = [sys.executable, "-m", "trades_bob", "data", "synthesize", "--per-class=1", "--size=32", "--out", name]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, cwd=tmp_path, env=environment)
    shown = name if encoding == "utf-8" else rb"\u03a9\u03a9" + b"\xff"
    assert (done.returncode, done.stdout) == (0, shown + b"\n"), done.stderr


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing(tiny_photos, tmp_path):
    command = [sys.executable, "-m", "trades_bob", "data", "verify", str(tiny_photos), "--json", f"{tmp_path}/v.json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT, preexec_fn=lambda: _limited(100)
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"trades-bob: {tmp_path}/v.json: File too large"
    assert not list(tmp_path.iterdir())


def test_an_output_that_takes_no_more_is_one_line(tiny_photos):
    command = [sys.executable, "-m", "trades_bob", "data", "verify", str(tiny_photos)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=-1, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "rank", "way_on"),
    [
        (["train", "smoke", "--data", "d"], 0, "; there is no checkpoint in out yet, so the next run begins anew"),
        (["train", "smoke", "--data", "d"], 1, ""),
        (["demo"], 0, "; the next demo begins anew"),
    ],
)
def test_a_run_that_is_stopped_says_how_to_go_on_where_it_knows(arguments, rank, way_on, tmp_path, monkeypatch, capfd):
    """A demo has no `--resume`, and of the processes of a run the first knows what is on its disk."""

    def stopped(*_: object, **__: object) -> None:
        raise TrainingError("stopped by SIGINT after step 1 of 8")

    monkeypatch.setattr("train.loop.train", stopped)
    monkeypatch.setattr("train.demo.train", stopped)
    monkeypatch.setattr("train.demo.synthesize", lambda *_, **__: None)
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["trades-bob", *arguments, "--out", "out"])
    with pytest.raises(SystemExit) as ended:
        trades_bob.main()
    assert ended.value.code == 1
    assert capfd.readouterr().err.splitlines()[-1] == f"trades-bob: stopped by SIGINT after step 1 of 8{way_on}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = 1\n[loss]\nepsilonn = 1", "run.toml: loss.epsilonn: unknown key"),
        ("epochs = 1\n[loss]\nepsilon = 8", "run.toml: loss: epsilon = 8 is out of range: pixels lie in [0, 1], so"),
        ("epochs = 1\n[spatial]\nscale = 204", "run.toml: spatial.scale: "),
        ("epochs = ", "run.toml: "),
        ("epochs = 1", "train/bird: no picture in it"),
    ],
)
def test_a_bad_run_is_one_line_naming_the_key_or_the_path(text, said, tmp_path, monkeypatch, capfd):
    (tmp_path / "run.toml").write_text(text)
    for name in ("bicycle", "bird"):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
    (tmp_path / "data" / "train" / "bicycle" / "0.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trades-bob", "train", "run.toml", "--data", "data", "--out", "out"])
    with pytest.raises(SystemExit) as ended:
        trades_bob.main()
    shown = capfd.readouterr().err
    assert ended.value.code == 2
    assert said in shown
    assert len(shown.splitlines()) == 1


def test_a_process_ends_with_exit_code_2():
    done = run("nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trades-bob: No such command 'nonsense'.\n"


def test_help_is_there_and_light():
    """`--help` must not load torch: it would take seconds."""
    code = "import sys, trades_bob; print(sorted({'torch', 'matplotlib', 'fastapi'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
    assert "demo" in run("--help").stdout


def test_make_runs_the_documented_commands():
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    for target in ("demo", "test"):
        assert f"\n{target}: " in makefile
        assert f"make {target}" in readme[:1500], "both commands stand on the first screen"


@pytest.mark.parametrize("extra", ["check", "watch"])
def test_a_document_tells_how_to_install_what_a_command_needs_more(extra):
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(f"'.[{extra}]'" in path.read_text() for path in DOCUMENTS)


@pytest.mark.parametrize("room", ["model", "attack", "train", "server"])
def test_the_architecture_names_every_module_of_a_room(room):
    page = (ROOT / "docs" / "architecture.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{room}/` |"))
    modules = {file.stem for file in (ROOT / room).glob("*.py")} - {"__init__", "commands", "data_commands"}
    assert modules <= set(re.findall(r"`(\w+)/?`", row)), "a module that the map of the rooms lacks"


def test_torchruns_sigterm_does_not_overtake_a_runs_own_reason():
    """It comes when another process has ended, and may come while this one tells why it ends."""
    with pytest.raises(TrainingError, match="stopped by SIGTERM"):
        _stopped()
    for reason in (TrainingError("a reason"), DataError("a mistake")):
        try:
            raise reason
        except TradesBobError:
            _stopped()


@pytest.mark.parametrize(("error", "asked"), [(RefusedError, 2), (UnansweredError, 1)])
def test_predict_goes_on_after_a_refusal_but_spends_its_patience_once(error, asked, capsys):
    paths: list[Path] = []

    def fail(path: Path) -> str:
        paths.append(path)
        raise error("status 500")

    try:
        assert not _print_labels([Path("a.png"), Path("b.png")], fail)
    except UnansweredError:
        assert error is UnansweredError
    assert len(paths) == asked
