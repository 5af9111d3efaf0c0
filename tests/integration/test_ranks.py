"""Two gloo processes against one: the same run, only the first writes, and a lost process ends it in a line."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.errors import TrainingError
from tests.runs import PROGRAM, ROOT, RUN, figures, lines, run, toml
from tests.three_steps import three_steps
from train.checkpoint import way_on
from train.config import read_config
from train.loop import train
from train.ranks import ALONE

pytestmark = pytest.mark.integration

STEPS = 8
CONFIG = RUN | {
    "epochs": 4,
    "batch_size": 16,
    "input_size": 64,
    "precision": "float32",
    "loss": RUN["loss"] | {"natural_epochs": 0.5},
    # Small steps: with large ones float32's rounding errors grow fiftyfold a step in so small a batch.
    "optimizer": {"name": "sgd", "learning_rate": 1e-5, "ema_decay": 0.9},
}


def torchrun(*arguments: object) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return [*launcher, *map(str, arguments)]


def training(config: Path, data: Path, out: Path, *options: str) -> list[str]:
    return torchrun(PROGRAM, "train", config, "--data", data, "--out", out, "--device", "cpu", *options)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(toml(CONFIG))
    return path


@pytest.fixture(scope="module")
def finished(config, tiny_photos, tmp_path_factory):
    """The same run on one process and on two."""
    outs = {processes: tmp_path_factory.mktemp("finished") / str(processes) for processes in (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.loop.LOG_EVERY_STEPS", 1)
        train(read_config(config), tiny_photos, outs[1], device="cpu")
    done = run(training(config, tiny_photos, outs[2]), LOG_EVERY_STEPS=1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("map + PGD") == 1, "the first process alone speaks"
    return outs


@pytest.mark.slow
def test_steps_on_two_processes_equal_those_on_one_in_float64(tmp_path):
    """Weights, statistics, gradients and losses of three large steps: maps, worst of two, two inner steps."""
    done = run(torchrun(ROOT / "tests" / "three_steps.py", tmp_path / "two.pt"))
    assert done.returncode == 0, done.stderr
    one, two = three_steps(ALONE), torch.load(tmp_path / "two.pt", weights_only=True)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-7, atol=1e-10, msg=name)


def test_the_loss_curve_is_the_same(finished):
    one, two = figures(finished[1]), figures(finished[2])
    assert [line.keys() for line in one] == [line.keys() for line in two]
    assert one[-1]["step"] == STEPS
    # Equal in float64 (the test above). In float32 the signs of an untrained network's tiny KL gradients are partly
    # rounding, so the robust term is only near; the natural term shows that photos, maps and statistics are the same.
    for mine, theirs in zip(one, two, strict=True):
        assert mine.get("loss_natural", 0) == pytest.approx(theirs.get("loss_natural", 0), rel=1e-3)
        assert mine.get("loss", 0) == pytest.approx(theirs.get("loss", 0), rel=6e-2)


def test_only_the_first_process_writes(finished):
    assert len(lines(finished[2])) == len(lines(finished[1]))
    assert len(list((finished[2] / "events").iterdir())) == 1
    assert sorted(p.name for p in finished[2].iterdir()) == sorted(p.name for p in finished[1].iterdir())


def test_only_the_first_process_writes_the_figures(finished, config, tiny_photos, tmp_path):
    """Each is told a file of its own; the run is finished, so it only measures and writes its bundle anew."""
    command = f"exec {sys.executable} -m trades_bob train {config} --data {tiny_photos} --out {finished[2]}"
    command += f" --device cpu --resume --json {tmp_path}/figures-$RANK.json"
    done = run(torchrun("--no-python", "bash", "-c", command))
    assert done.returncode == 0, done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["figures-0.json"]
    figures = json.loads((tmp_path / "figures-0.json").read_text())
    metrics = json.loads((finished[2] / "bundle.json").read_text())["metrics"]["val"]
    assert figures["robust"]["at_100"] == pytest.approx(metrics["robust_at_100"], abs=1e-4)


def test_processes_with_other_photos_end_in_a_line_before_the_first_step(config, tiny_photos, tmp_path):
    """The folder of the second has the same files under the other class: in silence it would train a wrong model."""
    swapped = shutil.copytree(tiny_photos, tmp_path / "1")
    (swapped / "train" / "bird").rename(swapped / "train" / "kept")
    (swapped / "train" / "bicycle").rename(swapped / "train" / "bird")
    (swapped / "train" / "kept").rename(swapped / "train" / "bicycle")
    (tmp_path / "0").symlink_to(tiny_photos)
    command = f"exec {sys.executable} -m trades_bob train {config} --data {tmp_path}/$RANK --out {tmp_path}/out"
    done = run(torchrun("--no-python", "bash", "-c", f"{command} --device cpu"))
    assert done.returncode != 0
    assert "trades-bob: the processes of this run do not have the same train photos; give all" in done.stderr
    assert "has ended" not in done.stderr, "no process is blamed for the other's end"
    assert not lines(tmp_path / "out")


@pytest.mark.slow
def test_a_lost_process_ends_the_run_in_a_line_and_it_resumes_to_the_same_bits(finished, config, tiny_photos, tmp_path):
    out = tmp_path / "out"
    lost = run(training(config, tiny_photos, out), LOG_EVERY_STEPS=1, SIGNAL="SIGKILL 3")
    assert lost.returncode != 0
    said = lost.stderr
    # Which of the two comes first, the closed connection or torchrun's signal, is a race.
    reason = r"^trades-bob: (process 0|stopped by SIGTERM).*another process of th.* run has ended.*; "
    assert re.search(reason + re.escape(way_on(out)), said, re.MULTILINE), said
    assert not (out / "model.safetensors").exists()
    done = run(training(config, tiny_photos, out, "--resume"), LOG_EVERY_STEPS=1)
    assert done.returncode == 0, done.stderr
    assert figures(out) == figures(finished[2])
    expected = load_file(finished[2] / "model.safetensors")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load_file(out / "model.safetensors").items())


def test_sigterm_of_one_process_stops_both_after_the_same_step_and_saves(config, tiny_photos, tmp_path):
    out = tmp_path / "out"
    stopped = run(training(config, tiny_photos, out), LOG_EVERY_STEPS=1, SIGNAL="SIGTERM 3")
    assert stopped.returncode != 0
    said = stopped.stderr
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 3
    assert f"trades-bob: stopped by SIGTERM after step 3 of {STEPS}; {way_on(out)}" in said.splitlines(), said
    assert set(re.findall(r"after step (\d+)", said)) == {"3"}
    assert said.count("--resume") == 1, "the first process alone says how to go on"
    assert figures(out)[-1]["step"] == 3


@pytest.mark.parametrize("learning_rate", [1e30, 3e38])
def test_numbers_that_overflow_before_a_validation_end_in_the_line_of_one_process(learning_rate, tiny_photos, tmp_path):
    """By 1e30 the answers of the validation are no numbers, and the next loss; by 3e38 the weights are infinite."""
    wild = {"name": "sgd", "learning_rate": learning_rate, "clip_norm": 1e30, "warmup_epochs": 0, "ema_decay": 0}
    natural = {"kind": "natural", "epsilon": "4/255"}
    table = CONFIG | {"input_size": 32, "loss": natural, "optimizer": wild, "spatial": {}}
    table["validation"] = {"every_epochs": 0.5, "photos": 4, "perturb_steps": 1}
    (tmp_path / "wild.toml").write_text(toml(table))
    with pytest.raises(TrainingError, match="not finite") as alone:
        train(read_config(tmp_path / "wild.toml"), tiny_photos, tmp_path / "out", device="cpu")
    shutil.rmtree(tmp_path / "out")
    done = run(training(tmp_path / "wild.toml", tiny_photos, tmp_path / "out"))
    said = f"trades-bob: {alone.value}"
    assert any(line.startswith(said) for line in done.stderr.splitlines()), done.stderr
    assert "do not agree" not in done.stderr
    if (tmp_path / "out" / "checkpoint.pt").exists():
        kept = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
        assert all(tensor.isfinite().all() for tensor in kept["network"].values())


def test_one_process_goes_on_with_the_run_of_two(finished, config, tiny_photos):
    """A checkpoint does not depend on the number of processes."""
    validation = train(read_config(config), tiny_photos, finished[2], resume=True, device="cpu")
    assert validation.flat().items() <= json.loads((finished[2] / "bundle.json").read_text())["metrics"]["val"].items()
    assert len(lines(finished[2])) == len(lines(finished[1]))
