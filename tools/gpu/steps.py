"""The steps of a run, each a process of its own: what it does, the JSON it leaves, and its line for the table."""

import importlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from tools.gpu.plan import BUNDLE, CHECKPOINT, PHOTOS, RELEASE, Plan, whole
from tools.gpu.run import PARTLY, unadopted


def take(plan: Plan, _seconds: float) -> str:
    """Unpack the photos; put a checkpoint or a bundle of an earlier run in its place."""
    import tarfile

    from tools.gpu.compact import grow
    from tools.gpu.pack import unpack

    if (plan.state / CHECKPOINT).exists() and not (plan.run / "checkpoint.pt").exists():
        grow(plan.state / CHECKPOINT, plan.run)
    if (plan.state / BUNDLE).exists() and not plan.bundle.exists():
        with whole(plan.bundle) as folder, tarfile.open(plan.state / BUNDLE) as archive:
            archive.extractall(folder, filter="data")
    if (plan.carried / RELEASE).exists() and not plan.rehearse and not plan.start.exists():
        with whole(plan.start) as folder:
            shutil.copytree(plan.carried / RELEASE, folder)
    if (plan.carried / PHOTOS).exists() and not plan.photos.exists():
        with whole(plan.photos) as folder:
            return str(dict(unpack(plan.carried / PHOTOS, folder)))
    return "no photos this time"


def shrink(plan: Plan, _seconds: float) -> str:
    """The checkpoint in the form that travels."""
    from tools.gpu.compact import shrink

    shrink(plan.run, plan.state / CHECKPOINT)
    return f"{(plan.state / CHECKPOINT).stat().st_size / 1e6:.1f} MB"


def tests(plan: Plan, _seconds: float) -> str:
    """The tests with the marker `gpu`; in a rehearsal, those of the same logic on the CPU."""
    from tools.gpu.record import record

    file = plan.state / "tests.xml"
    marked = ["-m", "not gpu", "tests/gpu"] if plan.rehearse else ["-m", "gpu and not slow", *gpu_test_files()]
    options = ["-q", "--continue-on-collection-errors", "-W", "default", "-p", "no:cacheprovider", f"--junitxml={file}"]
    done = subprocess.run([sys.executable, "-m", "pytest", *marked, *options], check=False)
    cases = list(ElementTree.parse(file).getroot().iter("testcase"))
    bad = [case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    counts = {"passed": len(cases) - len(bad) - skipped, "failed": len(bad), "skipped": skipped, "names_failed": bad}
    record(plan, "tests", counts, {"marker": " ".join(marked[:2])})
    line = ", ".join(f"{value} {name}" for name, value in counts.items() if isinstance(value, int))
    if done.returncode:
        print(f"= {line}: {', '.join(bad)}")
        sys.exit(1)
    return line


def gpu_test_files(tests: Path = Path("tests")) -> list[str]:
    """The files with a test marked `gpu`: others import what such a machine lacks, and could not be collected."""
    return sorted(str(file) for file in tests.rglob("test_*.py") if "mark.gpu" in file.read_text(encoding="utf-8"))


def checks(plan: Plan, _seconds: float) -> str:
    """Loss, labels and bits on the device."""
    import numpy as np
    import torch

    from model.bundle import load_bundle
    from model.photos import find_photos
    from model.pixels import load_square, to_square
    from model.torch_runtime import HALF_PRECISIONS, TorchRuntime
    from tools.gpu import checks
    from tools.gpu.record import record

    bundle = some_bundle(plan)
    network, size = load_bundle(bundle).network.requires_grad_(True), load_bundle(bundle).input_size
    limit = 12 if plan.rehearse else 700
    folders = [plan.photos / split for split in ("val", "shifted") if (plan.photos / split).is_dir()]
    listed = [photo for folder in folders for photo in find_photos(folder, limit)]
    pixels = np.stack([load_square(photo.path, size) for photo in listed])
    some = np.linspace(0, len(pixels) - 1, 4 if plan.rehearse else 8).astype(int)  # of both classes
    small = np.stack([to_square(pixels[index], min(size, 112)) for index in some])  # float64 on a CPU is slow
    x = torch.from_numpy(small).permute(0, 3, 1, 2).contiguous().float() / 255
    y = torch.tensor([listed[index].label for index in some])
    errors = {f"K = {k}": checks.loss_errors(network, x, y, plan.device, k) for k in (0, 10)}
    exact = TorchRuntime(bundle, plan.device, 1)
    exact.prove()
    company = {"float32": checks.rows_with_other_bits(exact, pixels[:200])}
    labels: dict[str, Any] = {}
    for precision in HALF_PRECISIONS[-1:] if plan.rehearse else HALF_PRECISIONS:
        other = TorchRuntime(bundle, plan.device, 1, precision)
        other.prove()
        company[precision] = checks.rows_with_other_bits(other, pixels[:200])
        labels[precision] = checks.label_changes(exact, other, pixels)
    config = {"bundle": load_bundle(bundle).metadata.weights_sha256, "input_size": size, "photos": len(pixels)}
    result = {"loss_errors": errors, "rows_with_other_bits": company, "rows_compared": min(len(pixels), 200)}
    record(plan, "checks", {**result, "half_precision_labels": labels}, config)
    changed = {name: found["labels_changed"] for name, found in labels.items()}
    off = {k: {name: f"{found['loss']:.0e}" for name, found in each.items()} for k, each in errors.items()}
    line = f"loss off {off}, rows with other bits {company}, labels changed {changed} of {len(pixels)}"
    far = errors["K = 0"]["float64"]["gradient"] > 1e-8 or errors["K = 10"]["float64"]["loss"] > 1e-3
    if far or any(company.values()):
        print(f"= {line}")
        sys.exit(1)
    return line


def train(plan: Plan, seconds: float) -> str:
    """A box of the release training."""
    from tools.gpu.training import steps_done, train_box
    from train.watch import read_metrics

    finished = train_box(plan, seconds)
    robust = [line for line in read_metrics(plan.run) if "robust_at_100" in line]
    shown = f", val clean {robust[-1]['natural_at_100']:.1%}, PGD {robust[-1]['robust_at_100']:.1%}" if robust else ""
    line = f"step {steps_done(plan)}{shown}"
    if not finished:
        print(f"= {line}")
        sys.exit(PARTLY)
    return line


def bundle(plan: Plan, _seconds: float) -> str:
    """The best weights as a bundle that fits into the way home."""
    from tools.gpu.training import make_bundle

    return make_bundle(plan)


def step(plan: Plan, _seconds: float) -> str:
    """benchmarks/trades_step.py, captured."""
    return _trades_step(plan, "captured")


def compiled(plan: Plan, _seconds: float) -> str:
    """benchmarks/trades_step.py, compiled, which takes minutes: with no search for batches of more than 128."""
    return _trades_step(plan, "compiled", "--largest", "128", "--name", "trades_step_compiled")


def _trades_step(plan: Plan, form: str, *options: str) -> str:
    tiny = ["--sizes", "32", "--batch", "2", "--steps", "1", "--rounds", "1", "--threads", "1", "--only", "bfloat16"]
    real = ["--sizes", "224", "--steps", "10", "--rounds", "3", "--only", form]
    found = _script(plan, "trades_step", [*(tiny if plan.rehearse else real), *options, "--device", plan.device])
    rows: dict[str, Any] = next(value for key, value in found.items() if key.endswith("px"))
    ours = {name: row for name, row in rows.items() if "plain" not in name and name != "peer"}
    whole = all(row.get("faster", True) for row in rows.values()) and (plan.rehearse or form in rows)
    line = ", ".join(f"{name} {row['times_the_peer']}x, {row['of_ideal']} of ideal" for name, row in ours.items())
    return line if whole else f"{line}; NOT all in the form they are named for"


def loader(plan: Plan, _seconds: float) -> str:
    """benchmarks/loader.py: the trainer's step on photos as they come, and on one fixed batch."""
    tiny = ["--size", "32", "--batch", "2", "--steps", "1", "--rounds", "1", "--photos", "8", "--threads", "1"]
    real = ["--size", "128", "--batch", "192", "--steps", "3", "--rounds", "5", "--photos", "800"]
    found = _script(plan, "loader", [*(tiny if plan.rehearse else real), "--device", plan.device])
    rates = ", ".join(f"{name} {rate}/s" for name, rate in found["photos_per_s"].items())
    return f"with the loader {found['step_with_loader_over_fixed_batch']} of a fixed batch; {rates}"


def model(plan: Plan, _seconds: float) -> str:
    """Images a second of the runtime beside the bare network."""
    from tools.gpu.record import record
    from tools.gpu.speed import model_rates

    rates = model_rates(plan, random_bundle(plan), 1 if plan.rehearse else 3)
    record(plan, "model", rates, {"seconds": "of each measurement: tools/gpu/speed.py"})
    return ", ".join(f"{name} {row['images_per_s']}/s" for name, row in rates.items() if isinstance(row, dict))


def http(plan: Plan, _seconds: float) -> str:
    """benchmarks/throughput.py, in float32 and in half precision."""
    sizes = ["--seconds", "0.4", "--rounds", "1"] if plan.rehearse else ["--seconds", "1", "--rounds", "3"]
    given = ["--bundle", str(random_bundle(plan)), "--clients", "192", "--batch-clients", "4", *sizes]
    lines = []
    for options in ([], ["--half-precision-photos", str(_some_photos(plan))]):
        found = _script(plan, "throughput", [*given, *options])
        rates = [f"{found[f'{what}_images_per_s']:.0f}/s" for what in ("alone", "jpeg", "npy_batch")]
        lines.append(f"{'half' if options else 'float32'}: runtime, JPEG, batches {', '.join(rates)}")
        print(f"= {'; '.join(lines)}", flush=True)
    return "; ".join(lines)


def _some_photos(plan: Plan) -> Path:
    """A few of each class, that random weights in half precision are held against."""
    some = plan.state / "some"
    for label in ("bicycle", "bird"):
        (some / label).mkdir(parents=True, exist_ok=True)
        for file in sorted((plan.photos / "val" / label).iterdir())[:2]:
            shutil.copy(file, some / label)
    return some


def profile(plan: Plan, _seconds: float) -> str:
    """What a training step of the release spends its time on."""
    import json

    from tools.gpu.record import record
    from tools.gpu.speed import step_profile
    from tools.gpu.training import RECIPE, tiny
    from train.config import parse_config

    run = plan.run / "run.json"
    table = json.loads(run.read_text()) if run.exists() else tomllib.loads(RECIPE.read_text())
    if plan.rehearse:
        table = tiny(table)
    config = parse_config(table, "run.json")
    found = step_profile(config, plan.device, 1 if plan.rehearse else 3)
    record(plan, "profile", found, config.model_dump(mode="json", exclude={"start_from"}))
    seconds = {form: row["median"] for form, row in found["seconds"].items()}
    first = found["profiled"]["dearest"][0]
    busy = found["profiled"]["busy_share"] * found["profiled"]["seconds_a_step"]
    return f"seconds a step {seconds}, kernels {busy:.4f}, {first['name'][:40]} {first['share']:.0%}"


def evaluate(plan: Plan, seconds: float) -> str:
    """The full protocol on 250 packed photos of `shifted`."""
    from tools.gpu.evaluation import evaluate_box

    finished, line = evaluate_box(plan, seconds)
    if not finished:
        print(f"= {line}")
        sys.exit(PARTLY)
    return line


def some_bundle(plan: Plan) -> Path:
    """The run's bundle; until there is one the released weights, or random ones of that network."""
    for folder in (plan.bundle, plan.start):
        if (folder / "bundle.json").exists():
            return folder
    return random_bundle(plan)


def random_bundle(plan: Plan) -> Path:
    """Random weights of the release's network at 224 px: for speed, which knows no weights."""
    random = plan.state / "random"
    if not (random / "bundle.json").exists():
        import torch

        from model.architecture import PixelClassifier
        from model.bundle import BundleMetadata, save_bundle
        from model.metadata import Architecture

        torch.manual_seed(0)
        backbone, size = ("resnet18", 32) if plan.rehearse else ("resnet50", 224)
        network = PixelClassifier(Architecture.model_validate({"backbone": backbone}))
        save_bundle(random, network.eval(), BundleMetadata(abstain_below=0.0, input_size=size))
    return random


def _script(plan: Plan, name: str, arguments: list[str]) -> dict[str, Any]:
    """Run a script of benchmarks/ here, its JSON among ours, as gpu-NAME.json."""
    _adopted(plan)  # what an earlier call was killed over
    harness: Any = importlib.import_module("benchmarks.harness")
    plan.results.mkdir(parents=True, exist_ok=True)
    harness.RESULTS = plan.results
    script: Any = importlib.import_module(f"benchmarks.{name}")
    sys.argv = [name, *arguments]
    script.main()
    (result,) = _adopted(plan)
    return result


def rest(plan: Plan, _seconds: float) -> str:
    """What a script that did not end had written, among our results."""
    return f"{len(_adopted(plan))} kept"


def _adopted(plan: Plan) -> list[dict[str, Any]]:
    """The reports of scripts that are not among ours yet, as gpu-NAME.json; what was half written is deleted."""
    from tools.gpu.record import adopt

    found = []
    for file in unadopted(plan):
        try:
            found.append(adopt(plan, file, file.stem.removesuffix(f"_{plan.device}").replace("_", "-")))
        except ValueError:
            file.unlink()
    return found


NAMES: Final[dict[str, Callable[[Plan, float], str]]] = {
    function.__name__: function
    for function in (
        *(take, shrink, rest, tests, checks, train, bundle, evaluate),
        *(step, loader, http, model, compiled, profile),
    )
}
