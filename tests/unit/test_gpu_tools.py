"""What travels to a GPU machine and back, photos, wheels, pieces and checkpoints; how a run is planned there."""

import argparse
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image

from attack.evaluation.protocol import WARM_UP
from benchmarks import trades_step
from model.architecture import Architecture, PixelClassifier
from model.errors import DataError, TrainingError
from model.photos import find_photos
from model.pixels import load_square
from tests.runs import RUN
from tools.gpu import training
from tools.gpu.compact import grow, shrink
from tools.gpu.evaluation import EVALUATED, LAST_S, evaluate_box
from tools.gpu.pack import pack, unpack
from tools.gpu.pieces import cut, join
from tools.gpu.plan import TRAIN_MINUTES, Book, Plan
from tools.gpu.run import (
    BENCHMARKS,
    BENCHMARKS_MINUTES,
    BUDGET_S,
    CALLS,
    COMMAND_S,
    OVERHEAD_S,
    PARTLY,
    RESERVE_S,
    STEPS,
    _do,
    run,
)
from tools.gpu.stage import LIMIT_BYTES, stage
from tools.gpu.steps import NAMES, _adopted, gpu_test_files, rest, take
from tools.gpu.training import fitted
from tools.gpu.wheels import MISSING, THERE, pinned_versions
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.config import OptimizerConfig, parse_config
from train.step import make_optimizer

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def test_pieces_come_together_again(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(bytes(range(256)) * 10)
    pieces = cut(file, tmp_path / "pieces", piece_bytes=1000)
    assert [path.stat().st_size for path in pieces] == [1000, 1000, 560]
    assert join(tmp_path / "pieces" / "weights.json", tmp_path / "back").read_bytes() == file.read_bytes()
    file.write_bytes(b"less")  # a later state takes the place of an earlier one, and leaves no piece of it
    cut(file, tmp_path / "pieces", piece_bytes=1000)
    assert sorted(path.name for path in (tmp_path / "pieces").iterdir()) == ["weights.000", "weights.json"]
    assert join(tmp_path / "pieces" / "weights.json", tmp_path / "back").read_bytes() == b"less"


def test_an_empty_file_is_a_piece_too(tmp_path):
    (tmp_path / "empty").touch()
    cut(tmp_path / "empty", tmp_path / "pieces")
    assert join(tmp_path / "pieces" / "empty.json", tmp_path / "back").read_bytes() == b""


def test_a_piece_that_is_missing_or_broken_is_named(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"x" * 20)
    cut(file, tmp_path, piece_bytes=8)
    (tmp_path / "weights.001").write_bytes(b"y" * 8)
    with pytest.raises(ValueError, match=r"weights\.001: its SHA-256"):
        join(tmp_path / "weights.json", tmp_path / "back")
    (tmp_path / "weights.001").unlink()
    with pytest.raises(ValueError, match=r"weights\.001: this piece is missing"):
        join(tmp_path / "weights.json", tmp_path / "back")
    index = json.loads((tmp_path / "weights.json").read_text())
    del index["pieces"][1]  # pieces of two cuts: each is whole
    (tmp_path / "weights.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="the file is not"):
        join(tmp_path / "weights.json", tmp_path / "back")


def test_packed_photos_unpack_to_the_same_folders(tiny_photos, tmp_path):
    assert pack(tiny_photos, tmp_path / "photos.npz", side=32, quality=90) == {"train": 32, "val": 16}
    assert unpack(tmp_path / "photos.npz", tmp_path / "back") == {"train": 32, "val": 16}
    for split in ("train", "val"):
        before, after = find_photos(tiny_photos / split), find_photos(tmp_path / "back" / split)
        assert [Path(p.name).stem for p in after] == [Path(p.name).stem for p in before]
        assert [p.label for p in after] == [p.label for p in before]
    old = load_square(tiny_photos / "train/bird/003.png", 32)
    new = load_square(tmp_path / "back/train/bird/003.webp", 32)
    assert new.shape == old.shape
    assert np.abs(new.astype(int).mean((0, 1)) - old.mean((0, 1))).max() < 8  # the colours that tell the classes apart


def test_a_limited_pack_is_balanced_and_names_what_it_leaves_out(tmp_path, capfd):
    for name in ("bicycle", "bird"):
        (tmp_path / "val" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (20, 20)).save(tmp_path / "val" / name / f"{number}.png")
    assert pack(tmp_path, tmp_path / "photos.npz", side=16, limit=4) == {"val": 4}
    (tmp_path / "val" / "bird" / "1.png").write_bytes(b"no picture")
    assert pack(tmp_path, tmp_path / "photos.npz", side=16) == {"val": 5}
    assert "left out" in capfd.readouterr().err


def test_a_pack_that_did_not_arrive_whole_is_refused(tiny_photos, tmp_path):
    file = tmp_path / "photos.npz"
    pack(tiny_photos, file, side=16)
    content = bytearray(file.read_bytes())
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="no pack of photos"):
        unpack(file, tmp_path / "back")
    with np.load(io.BytesIO(content)) as whole:
        arrays = dict(whole)
    arrays["data"][100] ^= 1
    np.savez(file, **arrays)
    with pytest.raises(DataError, match="not those that were packed"):
        unpack(file, tmp_path / "back")
    with pytest.raises(DataError, match="none of"):
        pack(tmp_path / "nowhere", file)


def test_what_was_half_unpacked_when_the_command_ended_is_unpacked_anew(tiny_photos, tmp_path, monkeypatch):
    """A training on the photos that had come so far would look like any other."""
    plan = Plan(tmp_path / "carried", tmp_path / "state", tmp_path / "out", "cpu")
    pack(tiny_photos, plan.carried / "photos.npz", side=16)
    (plan.carried / "release").mkdir()
    (plan.carried / "release" / "bundle.json").write_text("{}")
    written = iter(range(1000))

    def killed(file: Path, content: bytes) -> int:
        if next(written) == 9:
            raise KeyboardInterrupt
        with file.open("wb") as stream:
            return stream.write(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            take(plan, 60)
    take(plan, 60)
    assert len(find_photos(plan.photos / "train")) == 32
    monkeypatch.setattr(shutil, "copytree", lambda _, to: to.mkdir() or (to / "bundle.json").touch() or 1 / 0)
    shutil.rmtree(plan.start)
    with pytest.raises(ZeroDivisionError):
        take(plan, 60)
    assert not plan.start.exists()


def test_half_of_the_wheels_is_none(tmp_path, monkeypatch):
    plan = Plan(tmp_path / "carried", tmp_path / "state", tmp_path / "out", "cpu")
    (plan.carried / "wheels").mkdir(parents=True)
    monkeypatch.setattr("tools.gpu.run._call", lambda *_: 0)

    def killed(command: list[str], **_: object) -> None:
        Path(command[command.index("--target") + 1], "kornia").mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.gpu.wheels.subprocess.run", killed)
        with pytest.raises(KeyboardInterrupt):
            run(plan, 1, [])
    assert not plan.site.exists()
    refused = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr("tools.gpu.wheels.subprocess.run", lambda *_, **__: refused)
    with pytest.raises(ValueError, match=r"wheels: pip cannot install them on Python 3\.\d+.*`stage --python`"):
        run(plan, 1, [])


def test_what_is_staged_for_each_call_is_weighed_with_the_repository(tiny_photos, tmp_path, monkeypatch):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "model.safetensors").write_bytes(b"w" * 1000)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("tools.gpu.stage.RELEASED", tmp_path / "release")
    monkeypatch.setattr(
        "tools.gpu.stage.download", lambda out, *_: out.mkdir() or (out / "a.whl").write_bytes(b"a" * 50)
    )
    (tmp_path / "out" / "first").mkdir(parents=True)
    found = stage(tiny_photos, tmp_path / "out", side=16)
    names = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert names == {
        *("first/commit", "first/wheels/a.whl", "first/release/model.safetensors"),
        *("second/commit", "second/photos.npz"),
    }
    assert 1050 <= found["first"] - found["repository"] < 20000
    photos = (tmp_path / "out" / "second" / "photos.npz").stat().st_size
    assert photos <= found["second"] - found["repository"] < photos + 20000
    assert found["repository"] < LIMIT_BYTES / 10, "the released weights are not in it"


def test_every_wheel_has_a_tested_version():
    versions = pinned_versions(ROOT / "constraints.txt")
    assert set(map(str.lower, MISSING)) <= set(versions)
    assert not {"torch", "torchvision", "numpy"} & set(MISSING), "the machine's own"


def test_whatever_the_project_requires_is_there_or_travels():
    """The step `http` once failed for the requirement of a requirement, and cost a run its figures."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there, travels = (set(map(normal, names)) for names in (THERE, MISSING))
    assert required([*project["dependencies"], "pytest"], there, python="3.12") == there | travels


def required(asked: list[str], there: set[str], python: str) -> set[str]:
    """The packages that these requirements need on Linux, by what the installed ones say; what is there needs none."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in asked]
    while waiting:
        one = waiting.pop()
        name = normal(one.name)
        for text in [] if name in found | there else requires(name) or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": "", "python_version": python}):
                waiting.append(need)
        found.add(name)
    return found


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def test_a_travelled_checkpoint_keeps_the_average_and_the_size_of_steps(tmp_path):
    (tmp_path / "run.json").write_text('{"epochs": 1}')
    torch.manual_seed(0)
    network = PixelClassifier(Architecture(backbone="wrn_16_1")).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, OptimizerConfig())
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    weights = network.state_dict()
    legs = [(0, 1e-3, 6.0), (5, 1e-4, 6.0)]
    state = optimizer.state_dict()
    save_checkpoint(tmp_path, Checkpoint(7, weights, weights, state, weights, 0.5, 2, "print", legs=legs))
    shrink(tmp_path, tmp_path / "compact")
    assert (tmp_path / "compact").stat().st_size < 0.25 * (tmp_path / "checkpoint.pt").stat().st_size
    assert grow(tmp_path / "compact", tmp_path / "there") == 7
    assert (tmp_path / "there" / "run.json").read_text() == '{"epochs": 1}'
    found = load_checkpoint(tmp_path / "there", "print")
    assert found is not None
    assert found.legs == legs
    for name, tensor in weights.items():
        torch.testing.assert_close(found.network[name], tensor, rtol=1e-3, atol=1e-6)
        assert torch.equal(found.average[name], found.network[name])
    fresh = make_optimizer(network, OptimizerConfig())
    fresh.load_state_dict(found.optimizer)
    for before, after in zip(optimizer.state.values(), fresh.state.values(), strict=True):
        assert after["exp_avg_sq"].stride() == before["exp_avg_sq"].stride()
        torch.testing.assert_close(after["exp_avg_sq"].mean(), before["exp_avg_sq"].mean())
        assert (after["step"], float(after["exp_avg"].abs().max())) == (1, 0)
    moved = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    fresh.step()  # a fused step on the grown state
    assert all((weight - moved[name]).abs().max() < 5e-3 for name, weight in network.named_parameters())


def test_a_checkpoint_with_one_flipped_bit_does_not_travel(tmp_path):
    weights = {"weight": torch.full((64,), 0.25)}
    optimizer = {"state": {}, "param_groups": []}
    plan = Plan(tmp_path, tmp_path, tmp_path)
    plan.run.mkdir()
    (plan.run / "run.json").write_text("{}")
    save_checkpoint(plan.run, Checkpoint(7, weights, weights, optimizer, weights, (0.5, 0.5), 2, "print"))
    assert training.steps_done(plan) == 7
    file = plan.run / "checkpoint.pt"
    content = bytearray(file.read_bytes())
    content[content.index(weights["weight"].numpy().tobytes())] ^= 1  # a weight, which torch would take as it is
    file.write_bytes(content)
    for read in (lambda: training.steps_done(plan), lambda: shrink(plan.run, tmp_path / "compact")):
        with pytest.raises(DataError, match=r"checkpoint\.pt: damaged"):
            read()
    assert not (tmp_path / "compact").exists()


def test_a_recipe_is_fitted_to_the_time_there_is():
    table = tomllib.loads((ROOT / "tools" / "gpu" / "release.toml").read_text())
    parse_config(table, "release.toml")
    short = fitted(json.loads(json.dumps(table)), natural_s=0.1, robust_s=0.4, steps=90, seconds=600)
    natural = short["loss"]["natural_epochs"]
    assert 90 * (0.1 * natural + 0.4 * (short["epochs"] - natural)) == pytest.approx(600, rel=0.01)
    assert natural / short["epochs"] == pytest.approx(table["loss"]["natural_epochs"] / table["epochs"], rel=0.01)
    assert short["validation"]["every_epochs"] < short["epochs"]
    parse_config(short, "fitted")
    parse_config(fitted(json.loads(json.dumps(table)), 10.0, 40.0, 90, 1.0), "almost no time")


def test_a_step_whose_time_is_known_is_not_measured(tiny_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "step_seconds", lambda *_: pytest.fail("it was measured"))
    monkeypatch.setattr(training, "Trainer", lambda *_: pytest.fail("photos were decoded for it"))
    pack(tiny_photos, tmp_path / "photos.npz", side=36, quality=90)
    plan = Plan(tmp_path, tmp_path, tmp_path, "cpu", rehearse=True, train_minutes=10, step_seconds=0.5)
    unpack(tmp_path / "photos.npz", plan.photos)
    config = training._config(plan, 0.0)
    steps = config.epochs * max(len(find_photos(plan.photos / "train")) // config.batch_size, 1)
    assert steps * 0.5 == pytest.approx(0.9 * (600 - training.START_S), rel=0.01)


def test_a_time_of_a_step_below_zero_is_one_line(tmp_path):
    command = [sys.executable, "-m", "tools.gpu", "run", "--out", str(tmp_path), "--step-seconds", "-1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--step-seconds -1: below 0" in done.stderr


@pytest.mark.parametrize(("code", "status"), [(-signal.SIGKILL, "cut off"), (1, "failed")])
def test_what_a_benchmark_had_written_when_it_ended_early_comes_home(code, status, tmp_path, monkeypatch):
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", "cpu")
    plan.results.mkdir(parents=True)
    book = Book(plan.state / "steps.json")

    def killed(plan: Plan, name: str, _seconds: float, **_: object) -> int:
        (plan.state / "logs").mkdir(exist_ok=True)
        (plan.state / "logs" / f"{name}.log").touch()
        if name == "rest":
            rest(plan, 1)
            return 0
        report = {"benchmark": "trades_step_cpu", "224 px": {"peer": 1}, "machine": {}, "versions": {}, "commit": "a"}
        (plan.results / "trades_step_cpu.json").write_text(json.dumps(report))
        return code

    monkeypatch.setattr("tools.gpu.run._call", killed)
    _do(next(step for step in STEPS if step.name == "step"), plan, book, 100)
    assert [file.name for file in plan.results.iterdir()] == ["gpu-trades-step.json"]
    assert json.loads((plan.results / "gpu-trades-step.json").read_text())["224 px"] == {"peer": 1}
    assert book.entries["step"]["status"] == status


@pytest.mark.parametrize(("spent", "status"), [(300.0, "partly"), (350.0, "done")])
def test_a_training_is_done_when_less_is_left_than_it_begins_with(spent, status, tmp_path, monkeypatch):
    """On a slow machine it stops some seconds before the minutes that are meant for it: there would be no bundle."""
    monkeypatch.setattr("tools.gpu.run._call", lambda *_, **__: PARTLY)
    monkeypatch.setattr("tools.gpu.run._last_figures", lambda *_: "")
    (tmp_path / "state").mkdir()
    book = Book(tmp_path / "state" / "steps.json")
    book.note("train", "partly", spent, "")
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", train_minutes=6.7)
    _do(next(step for step in STEPS if step.name == "train"), plan, book, 400)
    assert book.entries["train"]["status"] == status


@pytest.mark.parametrize("form", ["captured", "compiled"])
def test_each_form_of_a_step_is_asked_for_and_has_its_own_figures(form, tmp_path, monkeypatch):
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", "cuda")
    monkeypatch.setattr("tools.gpu.record.machine", lambda _: {})
    rows = {name: {"times_the_peer": 2, "of_ideal": 1} for name in ("peer", form)}

    def measured(size: int, device: torch.device, options: argparse.Namespace) -> list[dict[str, Any]]:
        assert (size, options.only, options.steps, device.type) == (224, form, 10, "cuda")
        return [rows]

    monkeypatch.setattr(trades_step, "measured", measured)
    monkeypatch.setattr(trades_step.torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # which it turns on
    run_step = NAMES["step" if form == "captured" else form]
    assert run_step(plan, 60) == f"{form} 2x, 1 of ideal"
    name = "gpu-trades-step.json" if form == "captured" else "gpu-trades-step-compiled.json"
    assert json.loads((plan.results / name).read_text())["224 px"] == rows
    del rows[form]
    assert "NOT all in the form" in run_step(plan, 60)


def test_a_training_that_ends_in_an_error_has_its_figures(tmp_path, monkeypatch):
    plan = Plan(tmp_path, tmp_path, tmp_path, "cpu", rehearse=True)
    plan.run.mkdir()
    (plan.run / "run.json").write_text(json.dumps(RUN))

    def failing(*_: object, **__: object) -> None:
        save_checkpoint(plan.run, Checkpoint(7, {}, {}, {"state": {}}, {}, (0.5, 0.5), 2, "print"))
        (plan.run / "metrics.jsonl").write_text('{"step": 7, "epoch": 1, "epsilon": 0.1, "images_per_s": 5}\n')
        raise TrainingError("the loss is not finite")

    monkeypatch.setattr(training, "train", failing)
    with pytest.raises(TrainingError, match="not finite"):
        training.train_box(plan, 60)
    report = json.loads((plan.results / "gpu-training.json").read_text())
    assert (report["steps"], report["images_per_s"]["trades"]) == (7, {"median": 5, "n": 1})


def test_what_cannot_be_brought_just_now_ends_no_step(tmp_path, monkeypatch, capfd):
    """A report that is renamed while it is packed, or a full disk: the training of a loan would end with it."""
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", "cpu")
    monkeypatch.setattr("tools.gpu.run.BRING_EVERY_S", 0.0)
    monkeypatch.setattr("tools.gpu.run.tarfile.open", lambda *_: (tmp_path / "full" / "disk").open("wb"))
    monkeypatch.setattr("tools.gpu.run.sys.executable", "true")
    monkeypatch.setattr("tools.gpu.run._last_figures", lambda *_: "done")
    assert run(plan, 2, ["evaluate"]) is False, "no bundle yet"
    Book(plan.state / "steps.json").note("bundle", "done", 1, "")
    assert run(plan, 2, ["evaluate"])
    said = capfd.readouterr().out
    assert "not brought this time: " in said
    assert "evaluate   done" in said


def test_a_book_that_could_not_be_written_is_the_one_of_before(tmp_path, monkeypatch):
    """The next call could not begin with half of one."""
    book = Book(tmp_path / "steps.json")
    book.note("tests", "done", 1.0, "")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            book.note("checks", "done", 1.0, "")
    assert Book(tmp_path / "steps.json").entries.keys() == {"tests"}


def test_a_step_that_failed_is_tried_again_where_it_is_named(tmp_path, monkeypatch):
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", "cpu")
    plan.state.mkdir()
    for name, status in (("http", "failed"), ("model", "done"), ("loader", "cut off")):
        Book(plan.state / "steps.json").note(name, status, 5.0, "")
    called = []
    monkeypatch.setattr("tools.gpu.run._call", lambda _, name, *__, **___: called.append(name) or 0)
    monkeypatch.setattr("tools.gpu.run._last_figures", lambda *_: "")
    for again in (False, True):
        run(plan, 5, ["http", "model"], again=again)
    assert called == ["take", "http"]


def test_what_the_book_says_decides_what_is_done(tmp_path):
    book = Book(tmp_path / "steps.json")
    book.note("train", "partly", 30.0, "step 10")
    book.note("train", "partly", 12.0, "step 20")
    book.note("tests", "failed", 1.0, "2 failed")
    again = Book(tmp_path / "steps.json")
    assert again.seconds("train") == 42
    assert [again.done(name) for name in ("tests", "train", "http")] == [True, False, False]
    assert again.table(["tests", "train"]).splitlines()[1].split(maxsplit=4)[1:] == ["partly", "42.0", "s", "step 20"]


def test_the_command_begins_on_a_bare_machine():
    """The wheels are installed by it, so until then there is the standard library alone."""
    begin = [sys.executable, "-S", "-m", "tools.gpu", "run", "--help"]
    done = subprocess.run(begin, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert "--train-minutes" in done.stdout, done.stderr
    run_imports = [sys.executable, "-S", "-c", "import tools.gpu.run, tools.gpu.plan, tools.gpu.wheels"]
    subprocess.run(run_imports, cwd=ROOT, env={}, check=True)


def test_one_loan_has_time_for_all_its_calls():
    """No limit but the last can be trusted there: what overruns costs the figures of all that follow."""
    steps = {step.name: step for step in STEPS}
    for call in CALLS:
        granted = sum(steps[name].most_s or steps[name].least_s for name in call.steps)
        assert granted + RESERVE_S <= 60 * call.minutes <= 0.95 * COMMAND_S
    assert sum(60 * call.minutes for call in CALLS) + OVERHEAD_S <= BUDGET_S
    granted = sum(steps[name].most_s for name in BENCHMARKS)
    assert granted + RESERVE_S <= 60 * BENCHMARKS_MINUTES <= 0.95 * COMMAND_S
    assert 60 * (CALLS[0].minutes + BENCHMARKS_MINUTES) + OVERHEAD_S <= BUDGET_S
    order = [name for call in CALLS for name in call.steps]
    assert order == list(steps)[: len(order)], "in the order of worth"
    left_s = 60 * CALLS[1].minutes - RESERVE_S - sum(steps[name].most_s for name in ("checks", "bundle"))
    assert left_s - 10 >= 60 * TRAIN_MINUTES, "else training ends partly, and there is no bundle to evaluate"


def test_the_readme_has_the_limits():
    readme = (ROOT / "tools" / "gpu" / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", readme, re.MULTILINE))
    assert list(rows) == [step.name for step in STEPS]
    for step in STEPS:
        assert rows[step.name] == f"{step.most_s} s" if step.most_s else "what the call has" in rows[step.name]
    for number, call in enumerate(CALLS, start=1):
        assert f"call {number} ({call.minutes} minutes)" in readme
    assert f"`--steps {','.join(BENCHMARKS)} --minutes {BENCHMARKS_MINUTES}`" in readme
    assert f"their {sum(call.minutes for call in CALLS):.1f} minutes" in readme
    assert f"`--train-minutes` ({TRAIN_MINUTES} in all)" in readme


def test_training_leaves_the_bundle_its_time():
    train, bundle, step = (next(step for step in STEPS if step.name == name) for name in ("train", "bundle", "step"))
    assert train.limit_s(300, [bundle, step]) == 300 - bundle.most_s
    assert step.limit_s(300, []) == step.most_s
    assert step.limit_s(50, []) == 50


def test_the_parts_of_the_evaluation_are_the_full_profile():
    assert ",".join(EVALUATED).split(",") == list(WARM_UP)


def test_rows_of_the_evaluation_that_are_finished_come_home_and_are_not_run_again(tmp_path, monkeypatch):
    """The report of a part that is cut off is on disk with the rows that it has."""
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", "cpu")
    asked = []

    def cut_off_once(command: list[str], check: bool, timeout: float) -> None:
        rows, out = command[command.index("--attacks") + 1].split(","), Path(command[command.index("--out") + 1])
        asked.append(rows)
        out.mkdir(parents=True)
        figures = dict.fromkeys(("n", "accuracy_at_80", "accuracy_at_100", "interval_at_80", "seconds", "queries"), 1)
        finished = rows[:1] if len(asked) == 1 else rows
        found = [figures | {"name": name} for name in (*finished, "worst")]
        report = {"attacks": found, "seconds": 2.0, "model": {"sha256": "abc"}}
        (out / "report.json").write_text(json.dumps(report))
        if len(asked) == 1:
            raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr("tools.gpu.evaluation.subprocess.run", cut_off_once)
    assert evaluate_box(plan, 60) == (False, "2 s: clean 100.0%")
    home = plan.results / "gpu-evaluate.json"
    assert [row["name"] for row in json.loads(home.read_text())["attacks"]] == ["clean"]
    finished, line = evaluate_box(plan, 60)
    assert finished
    assert line.startswith("8 s: clean 100.0%")
    assert asked == [["clean", "corruptions", "spatial"], ["corruptions", "spatial"], ["spsa"], ["boundary"]]
    report = json.loads(home.read_text())
    assert [row["name"] for row in report["attacks"]] == list(WARM_UP)
    assert report["config"]["weights_sha256"] == ["abc"]


def test_an_evaluation_ends_itself_before_its_time_is_over(tmp_path, monkeypatch):
    """The step's own end by force would leave its finished rows out of the figures."""
    monkeypatch.setattr("tools.gpu.evaluation._command", lambda *_: ["sleep", "60"])
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", "cpu")
    started = time.monotonic()
    assert evaluate_box(plan, LAST_S + 0.1)[0] is False
    assert time.monotonic() - started < LAST_S
    assert json.loads((plan.results / "gpu-evaluate.json").read_text())["attacks"] == []


def test_a_report_that_was_being_written_when_a_script_was_killed_costs_no_other_its_own(tmp_path):
    plan = Plan(tmp_path, tmp_path / "state", tmp_path / "out", "cpu")
    plan.results.mkdir(parents=True)
    (plan.results / "trades_step_cpu.json").write_text('{"benchmark": "trades_st')
    (plan.results / "loader_cpu.json").write_text('{"benchmark": "loader_cpu", "feed": 1}')
    assert [report["feed"] for report in _adopted(plan)] == [1]
    assert _adopted(plan) == []
    assert [file.name for file in plan.results.iterdir()] == ["gpu-loader.json"]


def test_a_step_that_does_not_exist_is_named(tmp_path):
    """A slip of the pen must not end as `all steps done`."""
    with pytest.raises(ValueError, match=r"no step is called chekcs; there are .*checks"):
        run(Plan(tmp_path, tmp_path, tmp_path), 1, ["chekcs", "checks"])


def test_only_files_with_a_test_for_gpus_are_collected_there():
    """Others import what a bare machine lacks; those of the HTTP schema once failed a run there."""
    files = gpu_test_files(Path(__file__).parents[1])
    assert any(file.endswith("test_device.py") for file in files)
    assert not any(file.endswith(("test_openapi.py", "test_deploy.py")) for file in files)
