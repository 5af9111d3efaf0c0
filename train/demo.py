"""The whole chain in one command: draw pictures, train small, serve, predict and attack over HTTP, report."""

import base64
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from jinja2 import Environment, FileSystemLoader

from attack.campaign import Campaign
from attack.oracle import RemoteOracle
from attack.page import triptychs
from attack.settings import Settings
from attack.wire.client import Client
from model.console import say
from model.errors import DataError, TradesBobError
from model.files import replace_file, write_json
from model.labels import ABSTAIN, CLASSES
from model.photos import Photo, find_photos
from train.config import RECIPES, read_config
from train.loop import train
from train.synthetic.writer import partial_of, synthesize
from train.watch import CURVES_FILE

REPORT_FILE: Final = "index.html"
FIGURES_FILE: Final = "demo.json"
READY_WITHIN_S: Final = 120.0
PER_CLASS: Final = {"train": 1200, "val": 80, "test": 80}
"""Pictures drawn for each class; each split has a seed of its own, so `test` is unseen."""
MADE: Final = ("pictures", "bundle", "attack", FIGURES_FILE, REPORT_FILE)
"""All that it leaves in its folder, beside its marker."""
MARKER_FILE: Final = ".trades-bob-demo"
"""There from the beginning: the folder is the demo's own, and the next one may replace what it holds."""
ATTACKED: Final = 6
QUERIES: Final = 1500
SHOWN: Final = 24


@dataclass(frozen=True)
class Figures:
    """What the demo measured, over HTTP, on pictures that training never saw."""

    pictures: int
    right: int
    wrong: int
    abstained: int
    accuracy: float
    """Right answers over all pictures; an abstention is no right answer."""
    attacked: int
    adversarial: int
    seconds: float


def demo(out: Path) -> Figures:
    """Run the chain and leave `out/index.html`. Raises DataError when `out` holds something else already."""
    started = time.monotonic()
    _make_room(out)
    config = read_config(RECIPES / "demo.toml")
    say("1/5 drawing pictures")
    for number, (split, count) in enumerate(PER_CLASS.items()):
        synthesize(out / "pictures" / split, count, size=config.stored_size, seed=number)
    say("2/5 training with TRADES under random rotations and shifts")
    train(config, out / "pictures", out / "bundle")
    with serve(out / "bundle") as url, Client(url) as client:
        say(f"3/5 predicting unseen pictures over HTTP at {url}")
        pictures = find_photos(out / "pictures" / "test", limit=2 * PER_CLASS["test"])
        answers = [(picture, client.predict(picture.path)) for picture in pictures]
        say("4/5 attacking over HTTP")
        attack = Campaign(
            RemoteOracle(client),
            out / "pictures" / "test",
            Settings(attack="auto", max_queries=QUERIES, limit=ATTACKED),
            out / "attack",
        ).run(url)
    say("5/5 writing the report")
    figures = _figures(answers, attack, time.monotonic() - started)
    write_json(out / FIGURES_FILE, asdict(figures))
    _write_report(out, figures, answers, attack)
    return figures


@contextmanager
def serve(bundle: Path) -> Iterator[str]:
    """A real `trades-bob serve` of its own process on a free local port; yields its URL once it is ready."""
    url = f"http://127.0.0.1:{_free_port()}"
    log = bundle / "serve.log"
    command = [sys.executable, "-m", "trades_bob", "serve", "--bundle", str(bundle), "--port", url.rsplit(":", 1)[1]]
    with log.open("w") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)  # noqa: S603
    try:
        _wait_until_ready(url, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _make_room(out: Path) -> None:
    """An empty folder with the demo's marker: an earlier demo is replaced, whatever else is there is left alone.

    The marker is what tells them apart, since other people's folders hold `pictures` or `attack` too.
    """
    try:
        if foreign := _foreign(out):
            raise DataError(f"{foreign}: not of an earlier demo; choose another --out, or move it away")
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER_FILE).touch()
        for name in MADE:
            _remove(out / name)
    except OSError as error:
        raise DataError(f"{out}: cannot be made room in: {error.strerror}; choose another --out") from error


def _foreign(out: Path) -> Path | None:
    """The first thing that no demo has left there."""
    if not (out / MARKER_FILE).exists():
        return next(iter(_others(out, ())), None)
    unfinished = [partial_of(out / split).name for split in PER_CLASS]
    others = [*_others(out, (*MADE, MARKER_FILE)), *_others(out / "pictures", [*PER_CLASS, *unfinished])]
    return next(iter(others), None)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _others(folder: Path, known: Collection[str]) -> list[Path]:
    """What lies in the folder under other names; a file in its place."""
    if not folder.is_dir():
        return [folder] if folder.exists() else []
    return [path for path in sorted(folder.iterdir()) if path.name not in known]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TradesBobError(f"the service did not become ready; its log is {log}")


def _figures(answers: list[tuple[Photo, str]], attack: dict[str, Any], seconds: float) -> Figures:
    right = sum(answer == CLASSES[picture.label] for picture, answer in answers)
    abstained = sum(answer == ABSTAIN for _, answer in answers)
    return Figures(
        pictures=len(answers),
        right=right,
        wrong=len(answers) - right - abstained,
        abstained=abstained,
        accuracy=round(right / len(answers), 4),
        attacked=attack["summary"]["photos"],
        adversarial=attack["summary"]["adversarial"],
        seconds=round(seconds, 1),
    )


def _write_report(out: Path, figures: Figures, answers: list[tuple[Photo, str]], attack: dict[str, Any]) -> None:
    bundle = json.loads((out / "bundle" / "bundle.json").read_text())
    wrong_first = sorted(answers, key=lambda pair: pair[1] == CLASSES[pair[0].label])
    shown = [
        {"picture": _data_url(photo.path), "truth": CLASSES[photo.label], "answer": answer}
        for photo, answer in wrong_first[:SHOWN]
    ]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = environment.get_template("demo.html.j2").render(
        figures=figures,
        bundle=bundle,
        curves=_data_url(out / "bundle" / CURVES_FILE),
        shown=shown,
        attack=attack,
        triptychs=triptychs(out / "attack", attack),
    )
    replace_file(out / REPORT_FILE, page.encode())


def _data_url(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()
