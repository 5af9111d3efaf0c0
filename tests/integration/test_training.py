"""Whole training runs on tiny pictures: they learn, leave what they promise, resume bit for bit, and stop cleanly."""

import json
import re
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from attack.transforms.corruptions import KIT_CORRUPTIONS, corrupt
from attack.transforms.pixels import brought_to
from attack.transforms.spatial import KIT_SIZE
from model.architecture import Architecture
from model.bundle import load_bundle
from model.errors import BundleError, ConfigError, DataError, TrainingError
from model.metadata import read_metadata
from tests.runs import PROGRAM, RUN, figures, lines, run, run_table, toml
from train import loop
from train.cache import open_cache
from train.config import TrainConfig, parse_config, read_config
from train.loop import train
from train.release import averaged, release
from train.validation import Accuracy, Validation, network_logits

pytestmark = pytest.mark.integration


def run_config(**changes: object) -> TrainConfig:
    return parse_config(run_table(**changes), "test")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


@pytest.fixture(scope="module")
def finished(tiny_photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return out, train(run_config(), tiny_photos, out)


def test_a_run_learns_and_leaves_a_bundle_metrics_and_curves(finished):
    out, validation = finished
    assert validation.natural.at_100 >= 0.9
    classifier = load_bundle(out)
    assert classifier.input_size == 32
    assert classifier.metadata.training["data"]["train"]["bird"] == 16
    assert len(classifier.metadata.training["data"]["train"]["sha256"]) == 64
    assert "legs" not in classifier.metadata.training, "it had one configuration"
    assert classifier.metadata.metrics["val"]["natural_at_100"] == pytest.approx(validation.natural.at_100, abs=1e-4)
    logged = [json.loads(line) for line in lines(out)]
    assert {"loss", "loss_robust", "natural", "robust", "images_per_s"} <= set().union(*logged)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert validation.pgd.at_100 <= validation.natural.at_100
    assert classifier.metadata.metrics["val"]["pgd_at_80"] == pytest.approx(validation.pgd.at_80, abs=1e-4)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("photos")], "the feed is closed"


def test_each_validation_says_of_how_many_photos_its_accuracies_are(tiny_photos, tmp_path, capfd):
    """While it trains only some of `val` are attacked, and natural accuracy is of all of them."""
    train(run_config(epochs=0.25, validation={"photos": 4, "perturb_steps": 1}), tiny_photos, tmp_path)
    (logged,) = [line for line in figures(tmp_path) if "robust_at_100" in line]
    assert (logged["photos"], logged["attacked"]) == (16, 4)
    said = re.search(
        r"^epoch 0\.25: natural.*, natural_at_80 \S+ of (\d+) photos; robust.* of (\d+) attacked$",
        capfd.readouterr().err,
        re.M,
    )
    assert said is not None
    assert said.groups() == ("16", "4")


def test_the_threshold_covers_the_share_of_val(finished, tiny_photos):
    out, _ = finished
    classifier = load_bundle(out)
    val = open_cache(tiny_photos / "val", 32)
    with torch.inference_mode():
        answers = classifier.decide(classifier(val.take(torch.arange(16)).float() / 255))
    assert sum(answer != "abstain" for answer in answers) == int(0.8 * 16)


def test_a_finished_run_is_not_overwritten(finished, tiny_photos):
    out, _ = finished
    before = weights(out)
    with pytest.raises(DataError, match="--resume"):
        train(run_config(), tiny_photos, out)
    with pytest.raises(DataError, match="another configuration"):
        train(run_config(seed=1), tiny_photos, out, resume=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(out).items())


@pytest.mark.parametrize("resume", [True, False])
def test_a_bundle_without_its_run_is_not_overwritten(resume, finished, tiny_photos, tmp_path):
    """As in `--out model/release`, or where somebody has deleted the large checkpoint."""
    shutil.copytree(finished[0], tmp_path / "out", ignore=shutil.ignore_patterns("checkpoint.pt"))
    with pytest.raises(DataError, match="holds a bundle, and no checkpoint of the run that made it"):
        train(run_config(epochs=0.25, seed=1), tiny_photos, tmp_path / "out", resume=resume)
    assert read_metadata(tmp_path / "out") == read_metadata(finished[0])


def test_a_run_goes_on_with_a_lower_rate_and_without_what_it_began_from(finished, tiny_photos, tmp_path):
    """After a loss that is not finite the rate is lowered; the bundle of the start may be on another machine."""
    start = tmp_path / "start"
    shutil.copytree(finished[0], start, ignore=shutil.ignore_patterns("checkpoint.pt"))
    train(run_config(epochs=1, start_from=str(start)), tiny_photos, tmp_path / "out", minutes=1e-6)
    begun = read_metadata(start).weights_sha256
    shutil.rmtree(start)
    slower = RUN["optimizer"] | {"learning_rate": 1e-5}
    train(run_config(epochs=1, start_from=str(start), optimizer=slower), tiny_photos, tmp_path / "out", resume=True)
    assert read_metadata(tmp_path / "out").training["start_from"] == begun
    rates = [entry["learning_rate"] for entry in figures(tmp_path / "out") if "learning_rate" in entry]
    assert rates[-1] <= 1e-5
    assert read_metadata(tmp_path / "out").training["legs"] == [
        {"from_step": 0, "learning_rate": 1e-3, "beta": 6.0},
        {"from_step": 1, "learning_rate": 1e-5, "beta": 6.0},
    ]


def test_killed_and_resumed_it_ends_with_the_same_bits(finished, tiny_photos, tmp_path):
    """kill -9 in mid-run, twice; the resumed run ends with the weights and the log of the uninterrupted one."""
    config = tmp_path / "run.toml"
    config.write_text(toml(RUN))
    out = tmp_path / "out"
    command = [sys.executable, PROGRAM, "train", config, "--data", tiny_photos, "--out", out, "--resume"]
    for step in (6, 11):
        assert run(command, SIGNAL=f"SIGKILL {step}").returncode == -signal.SIGKILL
    done = run(command)
    assert done.returncode == 0, done.stderr
    for row in ("natural", "PGD", "map [+] PGD"):
        assert re.search(rf"│ {row} +│ +16 │ +[0-9.]+% │ +[0-9.]+% │", done.stdout), done.stdout
    assert re.search(r"^final table: (\d+)/\1, ", done.stderr, re.MULTILINE), "measuring has progress, up to its end"
    expected = weights(finished[0])
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(out).items())
    assert figures(out) == figures(finished[0])


def test_stopped_by_the_clock_and_resumed_it_ends_with_the_same_bits(finished, tiny_photos, tmp_path, capfd):
    """Two runs that are out of time at once do one step each and say so; the third ends as if there had been one."""
    for step in (1, 2):
        assert train(run_config(), tiny_photos, tmp_path, resume=True, minutes=1e-9) is None
        assert f"time is over after step {step} of 16; saved" in " ".join(capfd.readouterr().err.split())
        assert not (tmp_path / "bundle.json").exists()
    assert train(run_config(), tiny_photos, tmp_path, resume=True, minutes=60) == finished[1]
    expected = weights(finished[0])
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path).items())
    assert figures(tmp_path) == figures(finished[0])


def test_out_of_time_is_exit_0_and_writes_no_figures(tiny_photos, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(toml(RUN))
    command = [sys.executable, "-m", "trades_bob", "train", config, "--data", tiny_photos]
    done = run([*command, "--out", tmp_path / "out", "--minutes", "0.0001", "--json", tmp_path / "figures.json"])
    assert done.returncode == 0, done.stderr
    assert "time is over after step 1 of 16; saved, --resume goes on from here" in done.stderr
    assert (tmp_path / "out" / "checkpoint.pt").exists()
    assert not (tmp_path / "figures.json").exists()


@pytest.mark.parametrize("balanced", [True, False])
def test_a_run_draws_its_photos_as_its_toml_says(balanced, tiny_photos, tmp_path):
    trainer = loop.Trainer(run_config(class_balanced=balanced), tiny_photos, tmp_path, torch.device("cpu"))
    birds = {int(trainer.feed.at(step)[1].sum()) for step in range(8)}
    trainer.feed.close()
    assert (birds == {4}) == balanced


def test_a_loss_that_is_not_finite_stops_the_run_before_the_checkpoint(tiny_photos, tmp_path):
    config = run_config(optimizer={"learning_rate": 1e30, "clip_norm": 1e30, "warmup_epochs": 0, "name": "sgd"})
    with pytest.raises(TrainingError, match="not finite at step"):
        train(config, tiny_photos, tmp_path)
    if (tmp_path / "checkpoint.pt").exists():
        kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert all(tensor.isfinite().all() for tensor in kept["network"].values())


@pytest.mark.parametrize("saved", [True, False])
def test_a_full_disk_is_one_line_and_the_old_checkpoint_stays(saved, tiny_photos, tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    if saved:
        train(run_config(epochs=1), tiny_photos, tmp_path, minutes=1e-9)
    monkeypatch.setattr("train.checkpoint.replace_file", full)
    with pytest.raises(TrainingError, match=r"checkpoint.pt: No space left on device$"):
        train(run_config(epochs=1), tiny_photos, tmp_path, resume=True)
    assert (tmp_path / "checkpoint.pt").exists() == saved


def test_a_batch_that_the_gpu_cannot_hold_is_one_line_with_the_keys(tiny_photos, tmp_path, monkeypatch):
    """Later, when another program fills the GPU, it names the checkpoint, which is of these sizes alone."""

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    train(run_config(), tiny_photos, tmp_path / "begun", minutes=1e-9)
    monkeypatch.setattr("train.step.objective", full)
    saved = re.escape(str(tmp_path / "begun" / "checkpoint.pt"))
    with pytest.raises(
        ConfigError, match=f"input_size = 32 needs more .*{saved} is whole, and --resume goes on from it"
    ):
        train(run_config(), tiny_photos, tmp_path / "begun", resume=True)
    with pytest.raises(ConfigError, match=r"batch_size = 8 and input_size = 32 needs more .*; lower one of them$"):
        train(run_config(), tiny_photos, tmp_path)


@pytest.mark.parametrize("kind", ["madry", "natural"])
def test_the_other_losses_run(kind, tiny_photos, tmp_path):
    validation = train(run_config(epochs=3, loss={**RUN["loss"], "kind": kind}), tiny_photos, tmp_path)
    assert validation.natural.at_100 > 0.6
    assert ("robust" in figures(tmp_path)[-2]) == (kind == "madry"), "accuracy under attack is called so"


def test_a_run_starts_from_a_bundle(finished, tiny_photos, tmp_path):
    slow = RUN["optimizer"] | {"learning_rate": 1e-9}
    local = RUN["architecture"] | {"exposure": "local", "light_removed": 0.9, "contrast_floor": 0.02}
    config = run_config(epochs=0.25, start_from=str(finished[0]), input_size=48, optimizer=slow, architecture=local)
    train(config, tiny_photos, tmp_path)
    start, end = weights(finished[0]), weights(tmp_path)
    for name in (name for name in start if name.endswith("weight")):
        torch.testing.assert_close(end[name], start[name], rtol=0, atol=1e-6)
    classifier = load_bundle(tmp_path)
    assert classifier.input_size == 48
    architecture = classifier.metadata.architecture
    assert architecture == Architecture.model_validate(local), "of the run, not of the start"
    assert classifier.metadata.training["start_from"] == load_bundle(finished[0]).metadata.weights_sha256
    assert str(finished[0]) not in (tmp_path / "bundle.json").read_text(), "no path of this machine in a bundle"


def test_a_run_refuses_to_start_from_another_backbone(finished, tiny_photos, tmp_path):
    other = RUN["architecture"] | {"backbone": "resnet34"}
    with pytest.raises(DataError, match=r'must say backbone = "resnet18" and activation = "relu"'):
        train(run_config(start_from=str(finished[0]), architecture=other), tiny_photos, tmp_path)


def test_a_release_has_half_the_bytes_and_the_same_labels(finished, tiny_photos, tmp_path):
    release(finished[0], [tiny_photos / "val"], tmp_path)
    full, half = (path / "model.safetensors" for path in (finished[0], tmp_path))
    assert half.stat().st_size < 0.51 * full.stat().st_size
    val = open_cache(tiny_photos / "val", 32).take(torch.arange(16)).float() / 255
    before, after = (load_bundle(path) for path in (finished[0], tmp_path))
    with torch.inference_mode():
        assert before.decide(before(val)) == after.decide(after(val))


def test_a_release_is_calibrated_to_answer_corrupted_photos_too(finished, tiny_photos, tmp_path):
    """It answers the promised share of each class under every corruption of the challenge; attacked figures stay."""
    before = read_metadata(finished[0])
    after = release(finished[0], [], tmp_path / "one", tiny_photos / "train")
    released, photos = load_bundle(tmp_path / "one"), open_cache(tiny_photos / "train", KIT_SIZE)
    x = photos.take(torch.arange(len(photos))).float() / 255
    shares = []
    for name in KIT_CORRUPTIONS:
        corrupted = brought_to(corrupt(x, name, 1, range(len(x))), before.input_size)
        labels = released.decide(network_logits(released.network, corrupted))
        answered = torch.tensor([label != "abstain" for label in labels])
        shares += [answered[photos.labels == label].float().mean().item() for label in (0, 1)]
    assert min(shares) == pytest.approx(before.coverage, abs=2 / len(x)), shares
    assert after.metrics["val"]["answered"] >= before.coverage
    assert after.metrics["val"]["robust_at_80"] == before.metrics["val"]["robust_at_80"]
    assert release(finished[0], [], tmp_path / "two").abstain_below == before.abstain_below


@pytest.mark.parametrize("val", [None, "good"])
def test_earlier_figures_of_any_shape_are_replaced(val, finished, tiny_photos, tmp_path, monkeypatch):
    """`metrics` of a bundle are for people, who may have written there."""
    monkeypatch.setattr("train.release._corrupted_threshold", lambda *_: 0.0)  # takes long
    shutil.copytree(finished[0], tmp_path / "run")
    said = json.loads((tmp_path / "run" / "bundle.json").read_text())
    (tmp_path / "run" / "bundle.json").write_text(json.dumps(said | {"metrics": {"val": val}}))
    after = release(tmp_path / "run", [], tmp_path / "out", tiny_photos / "val")
    assert set(after.metrics["val"]) == {"natural_at_100", "natural_at_80", "answered"}


def test_averaged_weights_lie_between(finished, tiny_photos, tmp_path):
    """Of three runs each weight is the mean; its threshold is its own, and what one of them measured is left out."""
    runs = [finished[0]]
    for seed in (1, 2):
        train(run_config(epochs=0.25, seed=seed, start_from=str(finished[0])), tiny_photos, tmp_path / str(seed))
        runs.append(tmp_path / str(seed))
    released = release(runs[0], [], tmp_path / "mean", tiny_photos / "val", runs[1:])
    parts = [weights(run) for run in runs]
    for name, tensor in weights(tmp_path / "mean").items():
        if tensor.is_floating_point():
            mean = torch.stack([part[name].double() for part in parts]).mean(dim=0)
            assert torch.allclose(tensor.double(), mean, rtol=2e-3, atol=1e-4), name
    assert all(torch.equal(t, t.half()) for t in averaged(runs[0], runs[1:]).state_dict().values() if t.ndim)
    assert released.training["averaged"] == [read_metadata(run).weights_sha256 for run in runs]
    assert "robust_at_80" not in released.metrics["val"]
    with pytest.raises(ConfigError, match="--calibrate"):
        release(runs[0], [], tmp_path / "none", None, runs[1:])


def test_weights_of_another_network_are_not_averaged(finished, tiny_photos, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished[0], other)
    said = json.loads((other / "bundle.json").read_text())
    (other / "bundle.json").write_text(json.dumps(said | {"input_size": 48}))
    with pytest.raises(BundleError, match="input_size is not that of"):
        release(finished[0], [], tmp_path / "out", tiny_photos / "val", [other])


def test_photos_that_lie_on_the_device_make_the_same_run(tiny_photos, tmp_path, monkeypatch):
    """There the next step's photos are augmented ahead."""
    config = run_config(epochs=1)
    hashes = []
    for resident in (False, True):
        monkeypatch.setattr("train.feed.fits", lambda *_, resident=resident: resident)
        train(config, tiny_photos, tmp_path / str(resident), device="cpu")
        hashes.append(read_metadata(tmp_path / str(resident)).weights_sha256)
    assert hashes[0] == hashes[1]


def test_the_gpu_recipe_runs_as_on_one_gpu_in_small(tiny_photos, tmp_path, monkeypatch):
    """All its settings but sizes and lengths: bfloat16, compiled passes, photos on the device, then TRADES."""
    table = shrunken(read_config(Path("gpu")), epochs=2)
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda run, **_: compiled.append(run) or run)  # a real compiler takes minutes
    monkeypatch.setattr("train.feed.fits", lambda *_: True)
    monkeypatch.setattr("train.loop.LOG_EVERY_STEPS", 1)
    validation = train(parse_config(table, "gpu"), tiny_photos, tmp_path, device="cpu")
    assert validation is not None
    assert len(compiled) == 2, "the passes of the attack and those of training"
    steps = [line for line in figures(tmp_path) if "loss" in line]
    assert ["loss_robust" in line for line in steps] == [False, False, *[True] * 6]
    assert steps[-1]["epsilon"] == pytest.approx(12 / 255)
    assert load_bundle(tmp_path).metadata.training["config"]["spatial"] == table["spatial"]


def shrunken(recipe: TrainConfig, epochs: float) -> dict[str, object]:
    """The recipe for 32 photos of 32 px on a CPU: all lengths in proportion, everything else as it stands there."""
    table = recipe.model_dump(mode="json")
    share = epochs / recipe.epochs
    for section in (table, *(part for part in table.values() if isinstance(part, dict))):
        for name in section:
            if name.endswith("epochs") and isinstance(section[name], float):
                section[name] *= share
    small = {"batch_size": 8, "input_size": 32, "cache_size": 36, "threads": 1}
    on_a_gpu = {"precision": "bfloat16", "compilation": "on"}
    table["architecture"]["backbone"] = "resnet18"
    table["validation"] |= {"photos": 8, "perturb_steps": 2}
    table["loss"]["perturb_steps"] = 2
    return table | small | on_a_gpu


def test_a_release_that_changes_a_label_is_refused(finished, tiny_photos, tmp_path, monkeypatch):
    answers = iter([["bird"] * 16, ["bird"] * 15 + ["abstain"]])
    monkeypatch.setattr("model.bundle.Classifier.decide", lambda *_: next(answers))
    with pytest.raises(DataError, match="changes 1 of 16 labels"):
        release(finished[0], [tiny_photos / "val"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_validation_is_of_the_step_before_it(tiny_photos, tmp_path, monkeypatch):
    """Full strength begins with the fifth step: the validation after the fourth has seen none of it."""
    seen = []
    monkeypatch.setattr("train.selection.Selection.see", lambda *_, full_strength: seen.append(full_strength))
    train(run_config(epochs=2), tiny_photos, tmp_path)
    assert seen == [False, True]


def test_early_stop_keeps_the_best_weights(tiny_photos, tmp_path, monkeypatch):
    """With a measure that only falls the run stops after `patience` and releases the first weights."""
    real = loop.Trainer._measure
    calls = iter(range(1000))

    def falling(self, network, attacked, **options):
        validation = real(self, network, attacked, **options)
        return Validation(Accuracy(1 - next(calls) / 100, 0.0), validation.robust, 16, 16)

    monkeypatch.setattr(loop.Trainer, "_measure", falling)
    natural = {**RUN["loss"], "kind": "natural"}
    train(
        run_config(epochs=20, loss=natural, spatial={}, validation={**RUN["validation"], "patience": 2}),
        tiny_photos,
        tmp_path,
    )
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 3 * 4, "one good validation, then two that are worse"
    assert all(torch.equal(tensor.float(), kept["best"][name].float()) for name, tensor in weights(tmp_path).items())
    assert not torch.equal(kept["best"]["backbone.fc.weight"], kept["average"]["backbone.fc.weight"])
