"""`trades-bob data download` against a local server: the splits as the kit has them, and the faults of networks."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train.official.download as download_module
from model.errors import ConfigError, DataError, DownloadError, EndpointError
from model.pixels import read_picture
from model.vision import torchvision
from tests.official_server import CLASSES, HEADER, OfficialServer, box, photo_id, serving
from train.cache import open_cache
from train.official import PER_CLASS, SIDE
from train.official.download import download, kit_square
from train.official.fetch import Fetcher, NotServedError
from train.official.ids import extra_ids, listed_ids
from train.official.manifest import Manifest, read_manifest
from train.verify import verify

pytestmark = pytest.mark.integration
FEW = 15
BIRD = "/ids/bird_image_ids.csv"


@pytest.fixture
def server() -> Iterator[OfficialServer]:
    """The official numbers of photos."""
    with serving() as server:
        server.fill()
        yield server


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[OfficialServer]:
    """Few photos a class, for what runs in this process."""
    monkeypatch.setitem(PER_CLASS, "test", FEW)
    monkeypatch.setitem(PER_CLASS, "train", FEW)
    with serving() as server:
        server.fill()
        yield server


def picture_paths(server: OfficialServer, split: str, name: str) -> list[str]:
    ids = server.files[f"/ids/{name}_image_ids.csv"].decode().split()
    per_class = PER_CLASS["test"]
    return [f"/train/{line}.jpg" for line in (ids[:per_class] if split == "test" else ids[per_class:])]


def command(server: OfficialServer, *arguments: object) -> "subprocess.Popen[str]":
    environment = os.environ | {
        f"TRADES_BOB_DOWNLOAD_{name.upper()}": str(value) for name, value in server.settings().model_dump().items()
    }
    line = [sys.executable, "-m", "trades_bob", "data", "download", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=environment, preexec_fn=_heed_interrupts, **pipes)  # noqa: PLW1509  (no locks held)


def wait_until(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Or the process has ended. One that does neither is ended."""
    deadline = time.monotonic() + 300
    while not holds() and process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail("the download neither goes on nor ends")
        time.sleep(0.02)


def _heed_interrupts() -> None:
    """A suite that a shell runs in the background hands down an ignored SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_splits_are_the_kits(server: OfficialServer, tmp_path: Path) -> None:
    server.fill(extras=3)
    # A box that is too small, one on a photo of the test split, and a photo with both: as the kit's rule has it.
    server.files["/boxes.csv"] += (box(photo_id(251), "bird", 0.2, 0.2) + box(photo_id(1), "bicycle")).encode()
    server.files["/boxes.csv"] += box(photo_id(252), "bird", 0.21, 0.2).encode()
    done = command(server, "--out", tmp_path, "--json", tmp_path / "found.json")
    out, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors
    names = {
        split: {name: sorted(file.stem for file in (tmp_path / split / name).iterdir()) for name in CLASSES}
        for split in ("test", "train", "extras")
    }
    assert names["test"]["bicycle"] == [photo_id(number) for number in range(126, 251)]
    assert names["train"]["bird"] == [photo_id(10**6 + number) for number in range(1, 126)]
    assert names["extras"]["bicycle"] == [photo_id(number) for number in (251, 252, 253)]
    assert names["extras"]["bird"] == [photo_id(number) for number in (252, 10**6 + 251, 10**6 + 252, 10**6 + 253)]
    assert "extras: 3 bicycle, 4 bird, sha256 " in out
    assert "note: the same picture in both classes: extras/bicycle/" in out
    assert json.loads((tmp_path / "found.json").read_text())["fit"] is True
    assert torchvision.datasets.ImageFolder(str(tmp_path / "test")).classes == list(CLASSES)


def test_squares_are_those_of_the_kit() -> None:
    """What the kit does with torchvision: Resize(299), CenterCrop(299), saved with Pillow's defaults, EXIF unheeded."""
    pixels = np.random.default_rng(0).integers(0, 256, (301, 403, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    source, expected = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(source, "JPEG", exif=exif)
    opened = Image.open(source)
    cropped = torchvision.transforms.CenterCrop(SIDE)(torchvision.transforms.Resize(SIDE)(opened))
    cropped.save(expected, "JPEG")
    assert np.array_equal(_decoded(kit_square(source.getvalue())), _decoded(expected.getvalue()))
    assert _decoded(kit_square(source.getvalue())).shape == (SIDE, SIDE, 3)


def _decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("fault", [500, 503, 429, "cut", "reset", "silent", "drip", "garbage"])
def test_a_fault_that_passes_costs_nothing(small: OfficialServer, tmp_path: Path, fault: int | str) -> None:
    for path in picture_paths(small, "test", "bird")[:3]:
        small.faults[path] = [fault]
    if fault != "garbage":
        small.faults[BIRD] = [fault]
    impatient = {"timeout_s": 0.5, "photo_timeout_s": 1} if fault in ("silent", "drip") else {}
    manifest = download(tmp_path, ["test"], small.settings(**impatient))
    assert manifest.missing == {}
    found = verify(tmp_path)
    assert found.fit
    assert found.splits[0].counts == {"bicycle": FEW, "bird": FEW}
    assert not any(small.faults.values()), "each fault was met"


def test_photos_that_are_gone_are_told_and_no_failure(server: OfficialServer, tmp_path: Path) -> None:
    gone = picture_paths(server, "test", "bird")[:2]
    for path in gone:
        del server.files[path]
    done = command(server, "--out", tmp_path, "--split", "test")
    out, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors
    assert f"test: 248 of 250 photos; 2 gone: listed in {tmp_path}/official.json" in errors
    assert "note: could not be had: 2 gone, of 125 of test/bird" in out
    told = json.loads((tmp_path / "official.json").read_text())["missing"]
    assert told == {f"test/bird/{Path(path).name}": "gone" for path in gone}
    assert [server.requests.count(path) for path in gone] == [1, 1], "a 404 is not asked again"


def test_photos_that_may_come_yet_are_a_failure_until_they_do(server: OfficialServer, tmp_path: Path) -> None:
    broken, refused, strange = picture_paths(server, "test", "bird")[:3]
    server.faults = {broken: ["down"], refused: [403], strange: ["garbage"] * 3}
    done = command(server, "--out", tmp_path, "--split", "test")
    out, errors = done.communicate(timeout=300)
    assert done.returncode == 1, errors
    assert "test: 247 of 250 photos; " in errors
    for reason in ("1 unanswered", "1 refused", "1 no picture"):
        assert reason in errors
        assert reason in out
    server.faults.clear()
    server.requests.clear()
    assert download(tmp_path, ["test"], server.settings()).missing == {}
    assert sorted(server.requests) == sorted([broken, refused, strange]), "only what was missing is asked for"


def test_a_photo_that_broke_on_disk_is_fetched_anew(small: OfficialServer, tmp_path: Path) -> None:
    download(tmp_path, ["test"], small.settings())
    files = sorted((tmp_path / "test" / "bird").iterdir())
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (20, 20)).save(files[1])
    small.requests.clear()
    download(tmp_path, ["test"], small.settings())
    assert len(small.requests) == 2
    assert files[0].read_bytes() == whole
    assert verify(tmp_path).fit


def test_a_killed_download_goes_on(server: OfficialServer, tmp_path: Path) -> None:
    for path in picture_paths(server, "test", "bird"):
        server.faults[path] = ["silent"] * 1000
    process = command(server, "--out", tmp_path, "--split", "test")
    wait_until(lambda: len(list(tmp_path.rglob("*.jpg"))) >= 60, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = set(tmp_path.rglob("*.jpg"))
    assert 60 <= len(before) < 250
    assert all(read_picture(path).size == (SIDE, SIDE) for path in before)
    server.faults.clear()
    server.requests.clear()
    download(tmp_path, ["test"], server.settings())
    names = {Path(path).name for path in server.requests}  # a last request of the killed one may be noted late
    assert not names & {path.name for path in before}
    assert len(names) == 250 - len(before)
    assert verify(tmp_path).fit


def test_an_interrupt_is_prompt(server: OfficialServer, tmp_path: Path) -> None:
    for path in picture_paths(server, "test", "bicycle"):
        server.faults[path] = ["silent"] * 1000
    process = command(server, "--out", tmp_path, "--split", "test")
    wait_until(lambda: server.in_flight == 8, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "trades-bob: interrupted"


def test_a_server_that_is_down_ends_the_download(small: OfficialServer, tmp_path: Path) -> None:
    for path in small.files:
        if path.startswith("/train/"):
            small.faults[path] = ["down"]
    with pytest.raises(DownloadError, match=r"no answer to the last 24 photos .*status 503.*run it again"):
        download(tmp_path, ["test"], small.settings())


def test_a_class_without_any_photo_is_an_error(small: OfficialServer, tmp_path: Path) -> None:
    for path in picture_paths(small, "test", "bird"):
        del small.files[path]
    with pytest.raises(DownloadError, match=r"test/bird: none of its photos could be had \(gone\)"):
        download(tmp_path, ["test"], small.settings())


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"<html>", "'<html>' is no id"), (b"0e5d92fb84cd87d6\n" * 300, "1 ids, 30 are needed"), (None, "status 404")],
)
def test_a_list_of_ids_that_is_none(small: OfficialServer, tmp_path: Path, body: bytes | None, said: str) -> None:
    small.files[BIRD] = body
    with pytest.raises(DownloadError, match=said):
        download(tmp_path, ["test"], small.settings())


def test_other_addresses_need_another_folder(small: OfficialServer, tmp_path: Path) -> None:
    download(tmp_path, ["test"], small.settings())
    other = small.settings().model_copy(update={"images_url": small.url + "/elsewhere"})
    with pytest.raises(ConfigError, match="begun with other addresses"):
        download(tmp_path, ["test"], other)
    (tmp_path / "official.json").write_text("{}")
    with pytest.raises(DataError, match=r"official\.json: not what data download wrote"):
        download(tmp_path, ["test"], small.settings())


@pytest.mark.parametrize("path", [("../..", "bird", "a" * 16), ("test", "..", "a" * 16), ("test", "bird", "../../me")])
def test_the_list_of_another_leads_out_of_the_folder_nowhere(path: tuple[str, str, str], tmp_path: Path) -> None:
    split, name, photo = path
    manifest = Manifest(sources={}).model_dump()
    manifest["splits"] = {split: {"bicycle": ["0" * 16], "bird": ["1" * 16], name: [photo]}}
    (tmp_path / "official.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"official\.json: not what data download wrote"):
        read_manifest(tmp_path)


def test_few_photos_are_under_way(small: OfficialServer, tmp_path: Path) -> None:
    small.delay_s = 0.1
    download(tmp_path, ["test"], small.settings(workers=3))
    assert 1 < small.most_in_flight <= 3


def test_a_full_disk_is_one_line(small: OfficialServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def replace_file(path: Path, content: bytes) -> None:
        if len(written) >= 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path.write_bytes(content))

    monkeypatch.setattr(download_module, "replace_file", replace_file)
    with pytest.raises(DownloadError, match=r"the disk is full.*run the same command again"):
        download(tmp_path, ["test"], small.settings())
    monkeypatch.undo()
    assert download(tmp_path, ["test"], small.settings()).missing == {}


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("fault", ["cut", "reset", 500])
def test_the_boxes_go_on_where_they_broke(small: OfficialServer, fault: int | str, ranges: bool) -> None:
    small.ranges = small.tags = ranges
    small.files["/boxes.csv"] = (HEADER + "".join(box(photo_id(n), "bird") for n in range(20_000))).encode()
    small.faults["/boxes.csv"] = [fault, fault]
    with Fetcher(small.settings()) as fetcher:
        found = extra_ids(fetcher, {"bicycle": set(), "bird": {photo_id(3)}})
    assert found == {"bicycle": [], "bird": [photo_id(n) for n in range(13_751) if n != 3]}
    assert len(small.requests) == 3


def test_the_boxes_are_never_held(small: OfficialServer) -> None:
    small.files["/boxes.csv"] = HEADER.encode() + box(photo_id(7), "tree").encode() * 150_000 + b"x" * 2_000_000
    with Fetcher(small.settings()) as fetcher:
        tracemalloc.start()
        try:
            found = extra_ids(fetcher, {"bicycle": set(), "bird": set()})
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert found == {"bicycle": [], "bird": []}
    assert len(small.files["/boxes.csv"]) > 10_000_000
    assert peak_bytes < 2_500_000, "neither the 10 MB nor an endless line"


def test_boxes_that_change_meanwhile_are_refused(small: OfficialServer) -> None:
    small.files["/boxes.csv"] = HEADER.encode() * 1000
    with Fetcher(small.settings()) as fetcher:
        small.faults["/boxes.csv"] = ["cut"]
        parts = fetcher.stream(fetcher.settings.boxes_url)
        next(parts)
        small.files["/boxes.csv"] += b"more"
        with pytest.raises(DownloadError, match="changed while it was read"):
            list(parts)


def test_boxes_that_are_something_else(small: OfficialServer) -> None:
    with Fetcher(small.settings()) as fetcher:
        for body, said in [
            (b"<html>", "not the Open Images V4 boxes file"),
            (HEADER.encode() + b"a,b,/m/015p6\n", "no box"),
            (HEADER.encode() + box("../../../home/me/photo", "bird").encode(), "no box: ../../../home/me/photo"),
        ]:
            small.files["/boxes.csv"] = body
            with pytest.raises(DownloadError, match=said):
                extra_ids(fetcher, {"bicycle": set(), "bird": set()})
        small.faults["/boxes.csv"] = ["down"]
        with pytest.raises(EndpointError, match="status 503 after"):
            extra_ids(fetcher, {"bicycle": set(), "bird": set()})
        small.faults["/boxes.csv"] = [403]
        with pytest.raises(NotServedError, match="status 403"):
            extra_ids(fetcher, {"bicycle": set(), "bird": set()})


def test_a_body_without_end_is_let_go(small: OfficialServer) -> None:
    small.files["/train/x.jpg"] = bytes(5000)
    with (
        Fetcher(small.settings(max_photo_bytes=2000)) as fetcher,
        pytest.raises(DownloadError, match="more than 2000"),
    ):
        fetcher.get(small.url + "/train/x.jpg")


def test_the_lists_are_cut_as_the_kit_cuts_them(server: OfficialServer) -> None:
    with Fetcher(server.settings()) as fetcher:
        test, train = listed_ids(fetcher, "bird")
    assert (len(test), len(train)) == (125, 125)
    assert test[0] == photo_id(10**6 + 250)
    assert train[0] == photo_id(10**6 + 125)


def test_verify_prints_the_digest_that_a_bundle_records(tiny_photos: Path) -> None:
    digests = {split.name: split.sha256 for split in verify(tiny_photos).splits}
    assert digests == {name: open_cache(tiny_photos / name, 32).digest for name in ("train", "val")}
