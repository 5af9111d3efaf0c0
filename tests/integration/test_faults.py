"""What goes wrong while a run goes on: each ends in one clear line, and `--resume` goes on to the same bits."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file

from model.architecture import Architecture, PixelClassifier
from model.errors import DataError, TrainingError
from model.vision import torchvision
from tests.runs import PROGRAM, ROOT, figures, lines, run, run_table, toml
from train import checkpoint, loop
from train.cache import open_cache
from train.config import parse_config
from train.loop import train
from train.pretrained import imagenet_weights

pytestmark = pytest.mark.integration

SHORT = run_table(epochs=2)


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing more is done."""


@pytest.fixture(scope="module")
def config():
    return parse_config(SHORT, "test")


@pytest.fixture(scope="module")
def finished(config, tiny_photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    train(config, tiny_photos, out)
    return out


def command(data: Path, out: Path, *options: str) -> list[str]:
    (out.parent / "run.toml").write_text(toml(SHORT))
    program = [sys.executable, str(PROGRAM), "train", str(out.parent / "run.toml")]
    return [*program, "--data", str(data), "--out", str(out), *options]


def before(name: str, number: int, patch: pytest.MonkeyPatch, litter: Path | None = None) -> None:
    """Die just before the `number`-th call of a function, given as `module.function`."""
    module, _, function = name.rpartition(".")
    real = getattr(sys.modules[module], function)
    calls = iter(range(1, 1000))

    def deadly(*arguments: object, **options: object) -> object:
        if next(calls) == number:
            if litter is not None:
                litter.write_bytes(b"half a checkpoint")
            raise Killed
        return real(*arguments, **options)

    patch.setattr(name, deadly)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("train.loop.open_split", 2),
        ("train.loop.validate", 1),
        ("train.checkpoint.replace_file", 1),
        ("train.checkpoint.replace_file", 2),
        ("train.schedule.phase_at", 6),
        ("train.loop.save_bundle", 1),
        ("model.bundle.replace_file", 2),
        ("train.loop.draw_curves", 1),
    ],
)
def test_killed_at_any_moment_it_resumes_to_the_same_bits(name, number, config, finished, tiny_photos, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        before(name, number, patch, tmp_path / ".checkpoint.pt.abcd" if "checkpoint" in name else None)
        with pytest.raises(Killed):
            train(config, tiny_photos, tmp_path)
    if lines(tmp_path):
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 7, "lo')  # a line that was being written
    train(config, tiny_photos, tmp_path, resume=True)
    expected, found = (load_file(out / "model.safetensors") for out in (finished, tmp_path))
    assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())
    assert figures(tmp_path) == figures(finished)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in finished.iterdir())


def test_tensorboard_shows_the_run_once(config, tiny_photos, tmp_path, monkeypatch):
    """The events of a run that was killed and resumed hold every scalar of metrics.jsonl, each step once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 1)
    with pytest.MonkeyPatch.context() as patch:
        before("train.checkpoint.replace_file", 2, patch)
        with pytest.raises(Killed):
            train(config, tiny_photos, tmp_path)
    train(config, tiny_photos, tmp_path, resume=True)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    for name in ("loss", "loss_robust", "natural_at_100", "robust_at_80", "epsilon"):
        logged = [(line["step"], line[name]) for line in figures(tmp_path) if name in line]
        shown = [(scalar.step, pytest.approx(scalar.value, rel=1e-6)) for scalar in events.Scalars(name)]
        assert logged == shown


def test_a_second_run_on_the_folder_is_one_line_and_harms_nothing(tiny_photos, tmp_path):
    """The first is stopped in the midst of its run, then killed: `--resume` goes on at once."""
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SIGNAL": "SIGSTOP 3"}
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    first = subprocess.Popen(command(tiny_photos, out), env=environment, **quiet)
    try:
        assert os.WIFSTOPPED(os.waitpid(first.pid, os.WUNTRACED)[1])
        left = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        half = out / ".checkpoint.pt.abcd"  # what the first would be writing
        half.write_bytes(b"half a checkpoint")
        for options in ([], ["--resume"]):
            second = run(command(tiny_photos, out, *options))
            assert second.returncode == 2
            (line,) = second.stderr.splitlines()
            assert line == f"trades-bob: {out}: another run is writing there; wait for its end, or choose another --out"
        assert half.exists()
        assert all(path.read_bytes() == content for path, content in left.items())
    finally:
        first.kill()
        first.wait()
    train(parse_config(SHORT, "test"), tiny_photos, out, resume=True)
    assert not half.exists()


def test_sigterm_saves_and_is_one_line(tiny_photos, tmp_path):
    out = tmp_path / "out"
    done = run(command(tiny_photos, out), SIGNAL="SIGTERM 3")
    assert done.returncode == 1
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 3
    expected = f"stopped by SIGTERM after step 3 of 8; {out / 'checkpoint.pt'} is whole, and --resume goes on from it"
    assert done.stderr.splitlines()[-1] == f"trades-bob: {expected}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("step", [3, 8])
def test_interrupted_it_saves_and_resumes_to_the_same_bits(step, config, finished, tiny_photos, tmp_path):
    """In the midst of a step between two validations, and of the last one."""
    real = loop.Trainer._step

    def interrupted(self: loop.Trainer, phase: object) -> dict[str, float]:
        if self.step + 1 == step:
            signal.raise_signal(signal.SIGTERM)  # SIGINT is ignored where a script started this in the background
        return real(self, phase)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", interrupted)
        with pytest.raises(TrainingError, match=f"^stopped by SIGTERM after step {step} of 8$"):
            train(config, tiny_photos, tmp_path)
    train(config, tiny_photos, tmp_path, resume=True)
    expected, found = (load_file(out / "model.safetensors") for out in (finished, tmp_path))
    assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())
    assert figures(tmp_path) == figures(finished)


@pytest.mark.parametrize(
    ("limit", "code", "said"),
    [
        (1 << 10, 2, r"cannot write the photo cache: File too large; set TRADES_BOB_CACHE"),
        (1 << 20, 1, r"checkpoint.pt: File too large; there is no checkpoint in"),
    ],
)
def test_a_disk_that_takes_no_more_is_one_line(limit, code, said, tiny_photos, tmp_path):
    done = subprocess.run(
        command(tiny_photos, tmp_path / "out"),
        env=os.environ | {"PYTHONPATH": str(ROOT), "TRADES_BOB_CACHE": str(tmp_path / "cache")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob(".checkpoint*")), "no half of a checkpoint is left"
    assert not list((tmp_path / "cache").glob("*.partial")), "nor of a cache"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_of_metrics_is_one_line(small_disk, config, tiny_photos, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 1)
    monkeypatch.setattr(loop, "save_checkpoint", lambda *_: None)
    (small_disk / "ballast").write_bytes(b"\0" * 4096)
    with pytest.raises(TrainingError, match=r"No space left on device$") as error:
        train(config, tiny_photos, small_disk)
    assert "\n" not in str(error.value)
    assert str(small_disk) in str(error.value)


def test_an_overflowed_statistic_reaches_no_checkpoint(tmp_path):
    network = PixelClassifier(Architecture(backbone="resnet18"))
    network.backbone.bn1.running_var.fill_(float("inf"))
    state = network.state_dict()
    broken = checkpoint.Checkpoint(5, state, state, {}, state, (0.5, 0.5), 0, "run")
    with pytest.raises(TrainingError, match=r"backbone.bn1.running_var is not finite after step 5"):
        checkpoint.save_checkpoint(tmp_path, broken)
    assert list(tmp_path.iterdir()) == []


def one_bit_off(whole: bytes) -> bytes:
    at = len(whole) // 2
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


@pytest.mark.parametrize(
    "spoil", [lambda _: b"", lambda _: b"no checkpoint", lambda whole: whole[: len(whole) // 2], one_bit_off]
)
def test_a_broken_checkpoint_is_one_line(spoil, config, finished, tiny_photos, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(spoil((finished / "checkpoint.pt").read_bytes()))
    with pytest.raises(DataError, match=r"checkpoint.pt: damaged, or not a checkpoint .*; move it away to start anew"):
        train(config, tiny_photos, tmp_path, resume=True)


def test_pictures_that_cannot_be_read_are_named_and_skipped(config, tiny_photos, tmp_path, capfd):
    data = shutil.copytree(tiny_photos, tmp_path / "data")
    birds = data / "train" / "bird"
    whole = (birds / "000.png").read_bytes()
    (birds / "000.png").write_bytes(whole[: len(whole) // 2])
    (birds / "001.png").write_bytes(b"")
    (birds / "002.png").write_text("<html>404</html>")
    train(config, data, tmp_path / "out")
    said = capfd.readouterr().err
    open_cache(data / "train", config.stored_size)
    again = capfd.readouterr().err
    for name in ("000.png", "001.png", "002.png"):
        assert f"left out: {birds / name}: " in said
        assert f"left out: {birds / name}: " in again, "decoded photos are kept, and what is left out too"


def test_imagenet_weights_come_from_the_cache_or_say_why_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = PixelClassifier(Architecture(backbone="resnet18"))
    head = network.backbone.fc.weight.clone()

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(DataError, match=r"resnet18 file cannot be had \(.*no network"):
        imagenet_weights(network)
    file = tmp_path / "hub" / "checkpoints" / torchvision.models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"half a download")
    with pytest.raises(DataError, match="cannot be had"):
        imagenet_weights(network)
    pretrained = torchvision.models.resnet18(num_classes=1000)
    torch.save(pretrained.state_dict(), file)
    imagenet_weights(network)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, pretrained.layer4[1].conv2.weight)
    assert torch.equal(network.backbone.fc.weight, head)
    with pytest.raises(DataError, match="torchvision has none for wrn_16_1"):
        imagenet_weights(PixelClassifier(Architecture(backbone="wrn_16_1")))
