"""The one command on the GPU machine: step by step until the minutes are over, then a table. Standard library alone.

Called again it goes on with the first step that is not done. Each step is a process of its own: what fails or hangs
costs its own figures and nothing else.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.gpu import pieces, wheels
from tools.gpu.plan import BUNDLE, CHECKPOINT, PHOTOS, RESULTS, Book, Plan, whole

PARTLY: Final = 3
"""Exit code of a step that is to be continued."""
BRING_EVERY_S: Final = 60.0
"""While a long step goes on, what would be brought home is renewed so often: a machine may be taken away."""
RESERVE_S: Final = 20.0
"""Kept for the last packing."""


@dataclass(frozen=True)
class Step:
    """One part of the run, in the order of worth."""

    name: str
    least_s: float
    """Not begun with less time left."""
    most_s: float | None = None
    """Cut off after so long; None: it takes what the call has left and goes on in the next, until it is finished."""
    needs: str | None = None
    """A step that has to be done before."""

    def limit_s(self, left: float, later: Sequence["Step"]) -> float:
        """Seconds that it may take of `left`: those of later steps that wait for it are not its own."""
        if self.most_s is not None:
            return min(self.most_s, left)
        return left - sum(one.most_s or one.least_s for one in later if one.needs == self.name)


@dataclass(frozen=True)
class Call:
    """One command on the machine."""

    minutes: float
    steps: tuple[str, ...]


BENCHMARKS: Final = ("step", "loader", "http", "model")
"""Of a loan for figures, in the one call that follows its tests."""
BENCHMARKS_MINUTES: Final = 9.4
STEPS: Final = (
    Step("tests", 40, 100),
    Step("checks", 20, 45),
    Step("train", 60),
    Step("bundle", 20, 60, needs="train"),
    Step("evaluate", 25, needs="bundle"),
    Step("step", 60, 240),
    Step("loader", 40, 110),
    Step("http", 40, 130),
    Step("model", 25, 45),
    Step("compiled", 100, 240),
    Step("profile", 20, 60),
)
BUDGET_S: Final = 900.0
"""Of the machine, from asking for it until it is given back."""
OVERHEAD_S: Final = 150.0
"""Of these for its start and for what travels, which no step has."""
COMMAND_S: Final = 600.0
"""The longest that one command may run there."""
CALLS: Final = (
    Call(2.0, ("tests",)),
    Call(9.0, ("checks", "train", "bundle")),
    Call(1.5, ("evaluate",)),
)
"""A loan for training: `--call 1`, `2`, `3`. The first brings wheels and released weights, the second the photos. What
is left waits for the next loan."""


def run(plan: Plan, minutes: float, names: Sequence[str] | None = None, *, again: bool = False) -> bool:
    """Do what fits into `minutes`, fill `plan.out`, print the table; whether nothing is left to do.

    `names`: these steps alone; `again`: also where they have failed or were cut off.
    """
    ends_at = time.monotonic() + 60 * minutes
    known = [step.name for step in STEPS]
    if unknown := set(names or ()) - set(known):
        raise ValueError(f"--steps: no step is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    steps = [step for step in STEPS if names is None or step.name in names]
    plan.save()
    plan.out.mkdir(parents=True, exist_ok=True)
    _take_in(plan)
    book = Book(plan.state / "steps.json")
    if again:
        book.reopen([step.name for step in steps])
    for number, step in enumerate(steps):
        left = ends_at - time.monotonic() - (1 if plan.rehearse else RESERVE_S)
        # The limits are a GPU's: a rehearsal on a busy CPU may take what there is.
        seconds = left if plan.rehearse and step.most_s else step.limit_s(left, steps[number + 1 :])
        fits = seconds >= (2 if plan.rehearse else step.least_s)
        if fits and not book.done(step.name) and (step.needs is None or book.done(step.needs)):
            _do(step, plan, book, seconds)
    bring_or_say(plan, book)
    finished = all(book.done(step.name) for step in steps)
    print(book.table([step.name for step in steps]))
    print("all steps done" if finished else "time is over: the same command goes on from here")
    return finished


def _take_in(plan: Plan) -> None:
    """Install, unpack and join what was carried, unless an earlier call did."""
    if (plan.carried / "wheels").is_dir() and not plan.site.exists():
        with whole(plan.site) as site:
            wheels.install(plan.carried / "wheels", site)
    if (plan.carried / RESULTS).exists() and not (plan.state / "steps.json").exists():
        with tarfile.open(plan.carried / RESULTS) as archive:
            archive.extractall(plan.state, filter="data")
    arrived = not (plan.state / "taken").exists()
    arrived |= (plan.carried / PHOTOS).exists() and not plan.photos.exists()
    for name in (CHECKPOINT, BUNDLE):  # where all does not fit into one call, a later one brings them
        if (plan.carried / f"{name}.json").exists() and not (plan.state / name).exists():
            pieces.join(plan.carried / f"{name}.json", plan.state)
            arrived = True
    if arrived and _call(plan, "take", 300) == 0:
        (plan.state / "taken").touch()


def _do(step: Step, plan: Plan, book: Book, seconds: float) -> None:
    started = time.monotonic()
    meant = 60 * plan.train_minutes if step.name == "train" else float("inf")
    continues = step.most_s is None
    if not plan.rehearse:  # a busy CPU may take what there is
        seconds = min(seconds, max(meant - book.seconds(step.name) + 30, 60))
    code = _call(plan, step.name, seconds, meanwhile=(lambda: bring_or_say(plan, book)) if continues else None)
    status = {0: "done", PARTLY: "partly", -signal.SIGKILL: "cut off"}.get(code, "failed")
    if status in ("cut off", "failed") and unadopted(plan):
        _call(plan, "rest", 30)
    spent = time.monotonic() - started
    if continues and status in ("partly", "cut off"):
        # With less left than it begins with it would wait for ever, and so would the bundle.
        status = "done" if book.seconds(step.name) + spent > meant - step.least_s else "partly"
    book.note(step.name, status, spent, _last_figures(plan, step.name))


def unadopted(plan: Plan) -> list[Path]:
    """Reports of scripts of benchmarks/ that are not among ours, as those of one that did not end."""
    return sorted(file for file in plan.results.glob("*.json") if not file.name.startswith("gpu-"))


def _call(plan: Plan, name: str, seconds: float, meanwhile: Callable[[], None] | None = None) -> int:
    """Run a step to its end or for so many seconds; its exit code. All it says goes to its own log."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(plan.site.resolve())]),
        "TRADES_BOB_CACHE": str(plan.state.resolve() / "cache"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "tools.gpu", "step", name, "--state", str(plan.state), "--seconds", str(seconds)]
    print(f"{name}: at most {seconds:.0f} s", flush=True)
    ends_at, bring_at = time.monotonic() + seconds, time.monotonic() + BRING_EVERY_S
    with _log(plan, name).open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, process_group=0)
        try:
            while process.poll() is None and time.monotonic() < ends_at:
                time.sleep(0.2)
                if meanwhile is not None and time.monotonic() > bring_at:
                    meanwhile()
                    bring_at = time.monotonic() + BRING_EVERY_S
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def end_with(parent: int) -> None:
    """End this process's group, from a thread, once `parent` is gone: a command that is cut off leaves no step behind.

    It would go on beside the next call's, on the same GPU and in the same folder.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _log(plan: Plan, name: str) -> Path:
    folder = plan.state / "logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.log"


def _last_figures(plan: Plan, name: str) -> str:
    """A step's line that begins with `= `, else its last line: of a failed step that is the error."""
    lines = _log(plan, name).read_text(errors="replace").splitlines()
    figures = [line[2:] for line in lines if line.startswith("= ")]
    return (figures or [line for line in lines if line.strip()] or [""])[-1].strip()


def bring_or_say(plan: Plan, book: Book) -> None:
    """`bring`; where it fails, as on a full disk or a file that was renamed while it was read, the steps go on."""
    try:
        bring(plan, book)
    except (OSError, tarfile.TarError) as error:
        print(f"not brought this time: {error}", flush=True)


def bring(plan: Plan, book: Book) -> None:
    """Fill `out`: results and logs, and the weights in pieces: the bundle once there is one, else the checkpoint."""
    archive = plan.state / f".{RESULTS}"
    with tarfile.open(archive, "w:gz") as file:
        for name in ("results", "logs", "steps.json", "train/metrics.jsonl", "train/run.json", "evaluation"):
            if (plan.state / name).exists():
                file.add(plan.state / name, name)
    hidden = Path(shutil.copy(archive, plan.out / archive.name))
    hidden.replace(plan.out / RESULTS)
    if book.done("bundle") and (plan.bundle / "bundle.json").exists():
        with tarfile.open(plan.state / BUNDLE, "w") as file:
            for path in sorted(plan.bundle.iterdir()):
                file.add(path, path.name)
        for old in plan.out.glob(f"{CHECKPOINT}*"):
            old.unlink()
        pieces.cut(plan.state / BUNDLE, plan.out)
    elif (plan.run / "checkpoint.pt").exists() and _call(plan, "shrink", 60) == 0:
        pieces.cut(plan.state / CHECKPOINT, plan.out)


def _steps_report(steps: Path, beside: Path, results: Path) -> Path:
    """The book of steps as RESULTS/gpu-steps.json, with machine, versions and commit of another report of the run."""
    other = json.loads(beside.read_text())
    origin = {name: other[name] for name in ("machine", "versions", "commit")}
    file = results / "gpu-steps.json"
    file.write_text(
        json.dumps({"benchmark": "gpu-steps", "steps": json.loads(steps.read_text()), **origin}, indent=2) + "\n"
    )
    return file


def home(came: Path, out: Path, results: Path) -> list[Path]:
    """At home: verify and join what came, into `out`; the JSON files also into `results`. What was written."""
    for folder in (out, results):
        folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(came / RESULTS) as archive:
        archive.extractall(out, filter="data")
    reports = sorted(out.glob("results/gpu-*.json"))
    written = [Path(shutil.copy(file, results)) for file in reports]
    if reports:
        written.append(_steps_report(out / "steps.json", reports[0], results))
    for name in (CHECKPOINT, BUNDLE):
        if (came / f"{name}.json").exists():
            written.append(pieces.join(came / f"{name}.json", out))
    if (out / BUNDLE).exists():
        with tarfile.open(out / BUNDLE) as archive:
            archive.extractall(out / "bundle", filter="data")
    return written
