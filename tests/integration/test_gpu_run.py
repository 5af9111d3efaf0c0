"""The command for a borrowed GPU machine, rehearsed on the CPU: broken off, brought home, gone on with elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.bundle import load_bundle
from model.errors import TrainingError
from tests.networks import save
from tests.runs import RUN
from tools.gpu.pack import pack
from tools.gpu.plan import Book, Plan
from tools.gpu.run import bring, home, run
from tools.gpu.steps import some_bundle, take
from tools.gpu.training import make_bundle, train_box
from train.checkpoint import save_checkpoint
from train.config import parse_config
from train.loop import Trainer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def carried(tiny_photos, tmp_path):
    pack(tiny_photos, tmp_path / "carried" / "photos.npz", side=36, quality=90)
    (tmp_path / "carried" / "commit").write_text("abc\n")
    return tmp_path / "carried"


def steps_done(state: Path) -> int:
    return json.loads((state / "results" / "gpu-training.json").read_text())["steps"]


@pytest.mark.slow
def test_a_training_that_is_out_of_time_goes_on_on_another_machine(carried, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    one = Plan(carried, tmp_path / "one", tmp_path / "out1", "cpu", rehearse=True, train_minutes=20)
    one.save()
    one.out.mkdir()
    take(one, 60)
    assert not train_box(one, 3)
    bring(one, Book(one.state / "steps.json"))
    assert {path.name for path in one.out.iterdir()} >= {"checkpoint.compact.json", "results.tar.gz"}

    other = Plan(carried, tmp_path / "two", tmp_path / "out2", "cpu", rehearse=True, train_minutes=0.1)
    shutil.copy(one.out / "results.tar.gz", carried)
    run(other, 1, [])  # photos first; the weights come with the next call
    (carried / "photos.npz").unlink()
    for file in one.out.iterdir():
        shutil.copy(file, carried)
    assert run(other, 8, ["train", "bundle"])
    rows = {line.split()[0]: line for line in capfd.readouterr().out.splitlines() if line}
    assert "done" in rows["train"], "the minutes of training are used up"
    assert "natural_at_100" in rows["bundle"]
    assert steps_done(tmp_path / "two") > steps_done(tmp_path / "one") > 0

    (tmp_path / "results").mkdir()
    written = home(other.out, tmp_path / "came", tmp_path / "results")
    assert {"gpu-training.json", "gpu-bundle.json", "gpu-steps.json", "bundle.tar"} <= {path.name for path in written}
    classifier = load_bundle(tmp_path / "came" / "bundle")
    assert classifier.input_size == 32
    report = json.loads((tmp_path / "results" / "gpu-bundle.json").read_text())
    assert report["weights_sha256"] == classifier.metadata.weights_sha256
    assert (report["commit"], report["machine"]["device"]) == ("abc", "cpu")


@pytest.mark.parametrize("saved", [True, False])
def test_a_run_without_a_step_of_training_makes_no_bundle(saved, carried, tmp_path):
    """Out of time before the first step, or broken off: random weights must not come home as a release."""
    plan = Plan(carried, tmp_path / "state", tmp_path / "out", "cpu", rehearse=True)
    plan.save()
    take(plan, 60)
    plan.run.mkdir()
    (plan.run / "run.json").write_text(json.dumps(RUN))
    if saved:
        trainer = Trainer(parse_config(RUN, "test"), plan.photos, plan.run, torch.device("cpu"))
        save_checkpoint(plan.run, trainer._checkpoint())
        trainer.feed.close()
    with pytest.raises(TrainingError, match="no step of training was saved, so there is nothing to release"):
        make_bundle(plan)
    assert not plan.bundle.exists()


@pytest.mark.slow
def test_a_command_that_is_cut_off_leaves_no_step_behind(carried, tmp_path):
    """It would train on beside the next call, and both would write one checkpoint."""
    command = [sys.executable, "-m", "tools.gpu", "run", "--rehearse", "--carried", str(carried), "--steps", "train"]
    command += ["--state", str(tmp_path / "state"), "--out", str(tmp_path / "out"), "--train-minutes", "9"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    log = tmp_path / "state" / "logs" / "train.log"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: log.exists() and children.read_text().split())
    (step,) = map(int, children.read_text().split())
    wait_until((tmp_path / "state" / "train" / "run.json").exists)
    process.kill()
    process.wait()
    wait_until(lambda: not lives(step), 20)


def lives(process: int) -> bool:
    """Whether it runs: one that has ended, and that nobody has asked for, is still listed."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text()


def wait_until(true: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_released_weights_come_first_and_photos_with_a_later_call(carried, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    save(tmp_path / "first" / "release")
    plan = Plan(tmp_path / "first", tmp_path / "state", tmp_path / "out", "cpu")
    plan.save()
    take(plan, 60)
    assert load_bundle(some_bundle(plan)).metadata == load_bundle(tmp_path / "first" / "release").metadata
    later = Plan(carried, tmp_path / "state", tmp_path / "out", "cpu", rehearse=True)
    assert run(later, 1, [])
    assert (later.photos / "train" / "bird").is_dir()
    assert some_bundle(later) == plan.start
