"""What a run leaves for people: `metrics.jsonl`, TensorBoard events, curves and the final table."""

import io
import json
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model.files import replace_file
from model.text import printable
from train.validation import Validation

try:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    HAS_TENSORBOARD = True
except ImportError:  # the extra `watch` is not installed
    HAS_TENSORBOARD = False

METRICS_FILE = "metrics.jsonl"
CURVES_FILE = "curves.png"


class MetricsLog:
    """Appends to OUT/metrics.jsonl; a resumed run first drops the lines of steps that it will do again."""

    def __init__(self, out: Path, done_steps: int, *, writes: bool = True) -> None:
        """`done_steps`: steps that the checkpoint holds. `writes`: false in all processes of a run but one."""
        self.file, self.writes = out / METRICS_FILE, writes
        self.events: Events | None = None
        if not writes:
            return
        if HAS_TENSORBOARD:
            self.events = Events(out / "events", done_steps + 1)
        kept = [line for line in read_metrics(out) if line["step"] <= done_steps]
        replace_file(self.file, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def add(self, step: int, epoch: float, **figures: float) -> None:
        """One line; figures are numbers with a name."""
        if not self.writes:
            return
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "epoch": round(epoch, 4), **figures}) + "\n")
        if self.events is not None:
            self.events.add(step, figures)


class Events:
    """TensorBoard's event file, every line at once on the disk.

    torch's SummaryWriter writes in a thread of its own, whose errors are tracebacks: a full disk must be one line.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        """`first_step`: what older files in the folder say of this step and later ones is to be forgotten."""
        folder.mkdir(exist_ok=True)
        self.file = folder / f"events.out.tfevents.{time.time_ns()}"
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, figures: dict[str, float]) -> None:
        """All figures of a step as scalars."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._write(Event(step=step, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        with self.file.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """The whole lines of OUT/metrics.jsonl; what a kill cut off or a disk has spoilt is left out."""
    file = out / METRICS_FILE
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    return [figures for line in lines[:-1] if (figures := _figures(line)) is not None]


def _figures(line: str) -> dict[str, Any] | None:
    try:
        figures = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(figures, dict) or not {"step", "epoch"} <= figures.keys():
        return None
    return figures if all(type(value) in (int, float) for value in figures.values()) else None


def draw_curves(out: Path) -> None:
    """OUT/curves.png: loss, accuracies and schedule over the epochs."""
    lines = read_metrics(out)
    panels = {
        "loss": ("loss", "loss_natural", "loss_robust"),
        "accuracy on val": ("natural_at_100", "natural_at_80", "robust_at_100", "robust_at_80"),
        "schedule, share of the peak": ("learning_rate", "epsilon", "spatial_share"),
    }
    figure = Figure(figsize=(15, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            points = [(line["epoch"], line[name]) for line in lines if name in line]
            peak = max((value for _, value in points), default=1) or 1
            scale = peak if title.startswith("schedule") else 1
            style = "o-" if title.startswith("accuracy") else "-"
            axis.plot([e for e, _ in points], [v / scale for _, v in points], style, markersize=3, label=name)
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    png = io.BytesIO()
    figure.savefig(png, dpi=110)
    replace_file(out / CURVES_FILE, png.getvalue())


def print_table(validation: Validation, title: str) -> None:
    """The final table on stdout."""
    table = Table(title=Text(printable(title)))
    for column in ("val photos", "n", "accuracy @ 100 %", "accuracy @ 80 % coverage"):
        table.add_column(column, justify="left" if column == "val photos" else "right")
    rows = (
        ("natural", validation.photos, validation.natural),
        ("PGD", validation.attacked, validation.pgd),
        ("map + PGD", validation.attacked, validation.robust),
    )
    for name, n, part in rows:
        if part is not None:
            table.add_row(name, str(n), f"{part.at_100:.1%}", f"{part.at_80:.1%}")
    Console(width=100).print(table)
