"""An attack over HTTP against a toy endpoint: results, PNGs, page; killed and resumed."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attack.campaign import Campaign
from attack.oracle import RemoteOracle
from attack.results import measured
from attack.settings import Settings
from attack.transforms.corruptions import corrupt
from attack.transforms.pixels import brought_to, to_pixels, to_tensor
from attack.wire.client import Client
from attack.wire.retry import RetryPolicy
from model.errors import ConfigError, EndpointError, ImageError, RefusedError, UnansweredError
from model.labels import CLASSES
from model.pixels import load_square
from tests.toy_endpoint import brightness_rule, serving

SIDE = 16
pytestmark = pytest.mark.integration


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Dark bicycles and bright birds, noisy enough to differ."""
    rng = np.random.default_rng(0)
    for label, level in zip(CLASSES, (90, 165), strict=True):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(3):
            pixels = rng.normal(level, 30, (40, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    return tmp_path / "images"


def attacked(
    url: str,
    pictures: Path,
    out: Path,
    resume: bool = False,
    timeout_s: float = 30,
    patience_s: float = 300,
    **settings,
) -> dict:
    retry = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.05, patience_s=patience_s)
    settings = {"attack": "cgba"} | settings
    with Client(url, retry=retry, timeout_s=timeout_s) as client:
        return Campaign(RemoteOracle(client), pictures, Settings(**settings), out, resume).run("toy")


def test_every_png_is_answered_wrongly_and_measures_what_the_results_say(pictures, tmp_path):
    (pictures / "bird/1.png").rename(pictures / "bird/0.bmp")  # a picture of its own under the same stem
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=300, spatial="none")
        written = json.loads((tmp_path / "out" / "results.json").read_text())
        assert written == results
        assert results["summary"]["adversarial"] == 6
        with Client(server.url) as client:
            for image in results["images"]:
                adversarial = load_square(tmp_path / "out" / image["file"], SIDE)
                answer = client.predict(tmp_path / "out" / image["file"])
                assert answer != image["label"]
                original = load_square(pictures / image["image"], SIDE)
                assert measured(original, adversarial) == (image["l2"], image["linf"])
    assert (tmp_path / "out" / "index.html").read_text().count("data:image/png") == 18


def test_the_count_of_queries_is_the_endpoints(pictures, tmp_path):
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=200, spatial="none")
        assert results["summary"]["repeats"] >= results["summary"]["adversarial"]
        assert results["summary"]["queries"] + results["summary"]["repeats"] == server.pictures
    assert all(image["queries"] <= 200 for image in results["images"])


def test_an_endpoint_that_takes_fewer_pictures_than_it_says_fails_no_photo(pictures, tmp_path, monkeypatch):
    pooled, labels = [], RemoteOracle.labels

    def noted(oracle: RemoteOracle, pixels: np.ndarray) -> list[str]:
        pooled.append(len(pixels))
        return labels(oracle, pixels)

    monkeypatch.setattr(RemoteOracle, "labels", noted)
    settings = {"attack": "auto", "max_queries": 120, "limit": 4}
    with serving(brightness_rule, SIDE) as server:
        whole = attacked(server.url, pictures, tmp_path / "whole", **settings)
        server.rule = lambda pixels: 413 if len(pixels) > 5 else brightness_rule(pixels)
        server.batches, asked = [], server.pictures
        pooled.clear()
        assert attacked(server.url, pictures, tmp_path / "out", **settings) == whole
        assert server.pictures == 2 * asked
    assert 1 < max(server.batches) <= 5
    assert max(pooled[-20:]) <= max(server.batches), "pooled into requests of what fits"


@pytest.mark.parametrize("attack", ["auto", "boundary-tuned"])
def test_faults_change_neither_results_nor_counts(attack, pictures, tmp_path):
    settings = {"attack": attack, "max_queries": 120, "spatial": "none", "limit": 4}
    with serving(brightness_rule, SIDE) as server:
        calm = attacked(server.url, pictures, tmp_path / "calm", **settings)
    with serving(brightness_rule, SIDE, max_batch=16, busy=0.05, hang=0.02, reset=0.01) as server:
        server.hang_s = 0.4
        rough = attacked(server.url, pictures, tmp_path / "rough", timeout_s=0.3, **settings)
        assert server.requests > len(server.batches)
    assert rough == calm
    assert (tmp_path / "rough/results.json").read_bytes() == (tmp_path / "calm/results.json").read_bytes()


def test_a_cut_journal_is_taken_up_bit_for_bit(pictures, tmp_path):
    settings = {"attack": "auto", "max_queries": 120, "limit": 4}
    with serving(brightness_rule, SIDE) as server:
        whole = attacked(server.url, pictures, tmp_path / "out", **settings)
        journal = tmp_path / "out" / "journal.jsonl"
        content = journal.read_bytes()
        for cut in (40, *random.Random(0).sample(range(300, len(content)), 2), len(content)):
            journal.write_bytes(content[:cut])
            asked = server.pictures
            assert attacked(server.url, pictures, tmp_path / "out", resume=True, **settings) == whole
            if cut == len(content):
                assert server.pictures == asked


def test_killed_and_resumed(pictures, tmp_path):
    settings = {"attack": "boundary-tuned", "max_queries": 200, "spatial": "none"}
    root = Path(__file__).resolve().parents[2]
    with serving(brightness_rule, SIDE, delay_s=0.01) as server:
        whole = attacked(server.url, pictures, tmp_path / "whole", **settings)
        command = [sys.executable, "trades_bob.py", "attack", "--endpoint", server.url, "--images", str(pictures)]
        command += ["--attack", "boundary-tuned", "--max-queries", "200", "--spatial", "none"]
        command += ["--out", str(tmp_path / "out")]
        process = subprocess.Popen(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)})
        _wait_for_lines(tmp_path / "out" / "journal.jsonl", 60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out" / "results.json").exists()
        resumed = attacked(server.url, pictures, tmp_path / "out", resume=True, **settings)
    assert resumed == whole


def test_ctrl_c_ends_at_once_what_waits_to_ask_again(pictures, tmp_path):
    interrupted_at: list[float] = []

    def interrupt() -> None:
        while server.requests < 1:
            time.sleep(0.01)
        time.sleep(0.1)  # the answer is read, the wait begun
        server.busy = 0.0
        interrupted_at.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with serving(brightness_rule, SIDE, busy=1.0) as server:
            server.retry_after_s = 5
            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt):
                attacked(server.url, pictures, tmp_path / "out", max_queries=20)
            workers = [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
            for thread in workers:  # the interpreter waits for them before it ends
                thread.join(timeout=5)
            assert time.monotonic() - interrupted_at[0] < 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_does_not_go_on_with_another_endpoint(pictures, tmp_path):
    """One that tells no weights is known by its address."""
    for number in range(2):
        with serving(brightness_rule, SIDE) as server:
            if number == 0:
                attacked(server.url, pictures, tmp_path / "out", max_queries=20, spatial="none")
                continue
            with pytest.raises(ConfigError, match="against another endpoint"):
                attacked(server.url, pictures, tmp_path / "out", resume=True, max_queries=20, spatial="none")


def test_photos_whose_names_are_not_utf_8_are_attacked_and_told_as_others(pictures, tmp_path):
    strange = (pictures / "bird" / "0.png").rename(pictures / "bird" / os.fsdecode(b"\xe4.png"))
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=60, spatial="none")
        command = [sys.executable, "-m", "trades_bob", "predict", str(strange), "--endpoint", server.url]
        strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as in most locales; the locale C lets all pass
        done = subprocess.run(command, env=strict, capture_output=True, check=False, timeout=120)
    assert f"bird/{strange.name}" in [image["image"] for image in results["images"] if image["status"] != "failed"]
    assert done.stdout == os.fsencode(strange) + b"\tbird\n", done.stderr


def test_a_photo_may_have_the_longest_name_there_is(pictures, tmp_path):
    for number, end in enumerate("ab"):
        (pictures / "bird" / f"{number}.png").rename(pictures / "bird" / f"{'n' * 250}{end}.png")
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=60, spatial="none")
    files = [image["file"] for image in results["images"] if image["status"] == "adversarial"]
    assert len(files) == len(set(files)) == len([*(tmp_path / "out" / "adversarial").glob("*/*.png")])
    assert sum("nnnn" in file for file in files) == 2


def test_a_photo_that_cannot_be_read_is_named_once_and_no_attack_starts_from_it(pictures, tmp_path, capfd):
    (pictures / "bird" / "0.png").write_bytes(b"no picture")
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=20, spatial="none")
    failed = [image["image"] for image in results["images"] if image["status"] == "failed"]
    assert failed == ["bird/0.png"]
    assert capfd.readouterr().err.count("no attack starts from bird/0.png") == 1


@pytest.mark.parametrize(
    ("spoil", "words"), [(Path.unlink, ": No such file"), (lambda file: file.write_bytes(b"x"), "no readable")]
)
def test_an_adversarial_that_has_gone_or_is_damaged_when_a_run_goes_on_is_named(spoil, words, pictures, tmp_path):
    with serving(brightness_rule, SIDE) as server:
        whole = attacked(server.url, pictures, tmp_path, max_queries=60, max_l2=100)
        file = next(image["file"] for image in whole["images"] if image["file"])
        spoil(tmp_path / file)
        with pytest.raises(ImageError, match=f"{file}.*{words}"):
            attacked(server.url, pictures, tmp_path, max_queries=60, max_l2=100, resume=True)


def _wait_for_lines(file: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if file.exists() and file.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.01)
    raise AssertionError("the attack did not begin")


def test_what_a_killed_run_left_half_written_goes_and_nothing_else(pictures, tmp_path):
    (pictures / "bird" / "1.png").rename(pictures / "bird" / ".1.png.webp")  # its adversarial looks nearly like it
    out = tmp_path / "out"
    with serving(brightness_rule, SIDE) as server:
        whole = attacked(server.url, pictures, out, attack="spatial-kit")
        hidden = out / "adversarial" / "bird" / ".1.png.webp.png"
        assert hidden.exists()
        for name in (".results.json", ".index.html", "adversarial/bird/.1.png.png", "original/bird/.1.png.webp.png"):
            (out / f"{name}.a_z01234").write_text("half")
        assert attacked(server.url, pictures, out, attack="spatial-kit", resume=True) == whole
    assert list((out / "adversarial").rglob(".*")) == [hidden]
    assert len(list(out.rglob(".*"))) == 2


def test_another_runs_journal_is_refused(pictures, tmp_path):
    with serving(brightness_rule, SIDE) as server:
        attacked(server.url, pictures, tmp_path / "out", limit=2, max_queries=20)
        with pytest.raises(ConfigError, match="other settings"):
            attacked(server.url, pictures, tmp_path / "out", resume=True, limit=2, max_queries=21)


def test_an_endpoint_that_takes_its_answers_back_is_noticed(pictures, tmp_path):
    seen: set[bytes] = set()

    def fickle(pixels):
        """Wrong at first sight of a grey picture, right ever after."""
        labels = brightness_rule(pixels)
        for place, picture in enumerate(pixels):
            if picture.tobytes() in seen and 110 < picture.mean() < 145:
                labels[place] = "bird" if labels[place] == "bicycle" else "bicycle"
            seen.add(picture.tobytes())
        return labels

    with serving(fickle, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=150, spatial="none")
    assert results["summary"]["repeats_differing"] > 0
    assert results["summary"]["failed"] == 6
    assert all("posted again" in image["reason"] for image in results["images"])
    assert all(image["best_l2"] is None and image["curve"] == [] for image in results["images"])
    assert results["summary"]["median_best_l2"] is None
    assert "<svg" not in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("told", [True, False])
def test_an_endpoint_that_becomes_another_midway_is_noticed(told, pictures, tmp_path, capfd):
    """Whatever is near a photo is then answered wrongly: perfect adversarials, and none of them worth anything."""

    def rule(pixels: np.ndarray) -> list[str]:
        if server.pictures < 200:
            return brightness_rule(pixels)
        server.weights = "another" if told else None
        return brightness_rule(255 - pixels)

    with serving(rule, SIDE) as server:
        server.weights = "one" if told else None
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=100, spatial="none")
        counts = results["summary"]
        assert counts["queries"] + counts["repeats"] == server.pictures
    found = [image for image in results["images"] if image["status"] == "adversarial"]
    assert found
    assert all(image["repeats_differing"] > 0 for image in found)
    assert counts["weights_changed"] == told
    said, page = capfd.readouterr().err, (tmp_path / "out" / "index.html").read_text()
    assert f"{counts['repeats_differing']} of {counts['repeats']} repeated pictures were answered otherwise" in said
    assert ("names other weights than at first" in said) == told
    assert ("named other weights at the end" in page) == told


def test_results_are_written_though_the_endpoint_tells_no_more_whose_they_are(pictures, tmp_path, monkeypatch, capfd):
    def gone(_: RemoteOracle) -> str:
        raise EndpointError("no connection")

    monkeypatch.setattr(RemoteOracle, "identity_now", gone)
    with serving(brightness_rule, SIDE) as server:
        attacked(server.url, pictures, tmp_path / "out", max_queries=20, spatial="none")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["summary"]["weights_changed"] is None
    assert "still the same is not known: no connection" in capfd.readouterr().err


def test_abstaining_is_no_success(pictures, tmp_path):
    def careful(pixels):
        return [
            "abstain" if 110 < picture.mean() < 145 else label
            for picture, label in zip(pixels, brightness_rule(pixels), strict=True)
        ]

    with serving(careful, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=200, spatial="none")
    for image in results["images"]:
        assert image["status"] == "adversarial"
        level = load_square(tmp_path / "out" / image["file"], SIDE).mean()
        assert level >= 145 if image["label"] == "bicycle" else level <= 110


@pytest.mark.parametrize(("answer", "status"), [("abstain", "abstained"), ("bird", "misclassified")])
def test_photos_that_are_not_answered_rightly_are_not_attacked(answer, status, pictures, tmp_path):
    with serving(lambda pixels: [answer] * len(pixels), SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=50)
    bicycles = [image for image in results["images"] if image["label"] == "bicycle"]
    assert [(image["status"], image["queries"]) for image in bicycles] == [(status, 1)] * 3


def test_nothing_answered_wrongly_is_a_failed_start(pictures, tmp_path):
    (pictures / "bicycle" / "broken.png").write_bytes(b"no picture")
    (pictures / "bicycle" / "gone.png").symlink_to("nowhere.png")
    with serving(lambda pixels: ["bicycle"] * len(pixels), SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=50)
    reasons = {image["image"]: image["reason"] for image in results["images"] if image["status"] == "failed"}
    assert reasons.pop("bicycle/broken.png").endswith("picture")
    assert reasons.pop("bicycle/gone.png").endswith("No such file or directory")
    assert len(reasons) == 3
    assert all("no start" in reason for reason in reasons.values())


def _refusing(photo: Path):
    """The rule, but no request with this photo."""
    unwanted = load_square(photo, SIDE)
    return lambda pixels: 422 if (pixels == unwanted).all((1, 2, 3)).any() else brightness_rule(pixels)


def test_a_photo_that_is_refused_fails_alone_and_is_asked_again_by_resume(pictures, tmp_path):
    settings = {"attack": "corruptions"}  # the others do not start from it
    with serving(brightness_rule, SIDE) as server:
        whole = attacked(server.url, pictures, tmp_path / "whole", **settings)
        server.rule = _refusing(pictures / "bird/1.png")
        refused = attacked(server.url, pictures, tmp_path / "out", **settings)
        again = attacked(server.url, pictures, tmp_path / "out", resume=True, **settings)
        server.rule = brightness_rule
        mended = attacked(server.url, pictures, tmp_path / "out", resume=True, **settings)
    (failed,) = (image for image in refused["images"] if image["status"] == "failed")
    assert failed["image"] == "bird/1.png"
    assert failed["reason"].endswith("status 422 refused")
    others = [image for image in refused["images"] if image is not failed]
    assert others == [image for image in whole["images"] if image["image"] != "bird/1.png"]
    assert again == refused
    assert mended == whole


def _spoilt_by(photo: Path, answer: str | int):
    """The rule, but no label where this photo is asked for: a status, or a word that is none."""
    unwanted = load_square(photo, SIDE)

    def rule(pixels: np.ndarray) -> list[str] | int:
        spoilt = (pixels == unwanted).all((1, 2, 3))
        if isinstance(answer, int):
            return answer if spoilt.any() else brightness_rule(pixels)
        return [answer if bad else label for bad, label in zip(spoilt, brightness_rule(pixels), strict=True)]

    return rule


@pytest.mark.parametrize(("answer", "words"), [(500, "status 500 after"), ("none", "answered 'none'")])
def test_a_photo_that_gets_no_label_fails_alone_and_is_asked_again_by_resume(answer, words, pictures, tmp_path):
    settings = {"attack": "corruptions", "patience_s": 0.3}
    with serving(_spoilt_by(pictures / "bird/1.png", answer), SIDE) as server:
        spoilt = attacked(server.url, pictures, tmp_path / "out", **settings)
        again = attacked(server.url, pictures, tmp_path / "out", resume=True, **settings)
        server.rule = brightness_rule
        mended = attacked(server.url, pictures, tmp_path / "out", resume=True, **settings)
    (failed,) = (image for image in spoilt["images"] if image["status"] == "failed")
    assert failed["image"] == "bird/1.png"
    assert words in failed["reason"]
    assert [image["status"] for image in again["images"]] == [image["status"] for image in spoilt["images"]]
    assert mended["summary"]["failed"] == 0


def test_an_endpoint_that_fails_whatever_it_is_asked_ends_the_attack_soon(pictures, tmp_path):
    with serving(lambda _: 500, SIDE) as server:
        started = time.monotonic()
        with pytest.raises(UnansweredError, match="status 500 after"):
            attacked(server.url, pictures, tmp_path / "out", attack="corruptions", patience_s=0.5)
    assert time.monotonic() - started < 3 * 0.5, "patience in company, then with one photo"


def test_an_endpoint_that_breaks_midway_ends_the_attack_and_leaves_it_to_resume(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("attack.scheduler.UNANSWERED_IN_A_ROW", 2)
    settings = {"attack": "corruptions", "patience_s": 0.2}
    with serving(brightness_rule, SIDE) as server:
        whole = attacked(server.url, pictures, tmp_path / "whole", **settings)
        asked = server.pictures
        server.rule = lambda pixels: 500 if server.pictures > asked + 8 else brightness_rule(pixels)
        with pytest.raises(UnansweredError, match="status 500 after"):
            attacked(server.url, pictures, tmp_path / "out", **settings)
        server.rule = brightness_rule
        assert attacked(server.url, pictures, tmp_path / "out", resume=True, **settings) == whole


def test_what_was_answered_before_a_refusal_is_not_asked_again(pictures, tmp_path):
    """A request that was too large goes as several: the first are answered, then one is refused."""
    refusing = _refusing(pictures / "bird/1.png")
    with serving(lambda pixels: 413 if len(pixels) > 2 else refusing(pixels), SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", attack="corruptions")
        assert results["summary"]["failed"] == 1
        assert results["summary"]["queries"] + results["summary"]["repeats"] == server.pictures


def test_a_png_that_is_refused_fails_its_photo(pictures, tmp_path, monkeypatch):
    def refuse(oracle: RemoteOracle, png: bytes) -> str:
        raise RefusedError(f"status 415 to {png[1:4].decode()}")

    monkeypatch.setattr(RemoteOracle, "label_of_png", refuse)
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", max_queries=120, spatial="none")
    assert {(image["status"], image["reason"]) for image in results["images"]} == {("failed", "status 415 to PNG")}


def test_an_endpoint_that_refuses_all_ends_the_attack_and_leaves_it_to_resume(pictures, tmp_path):
    with serving(lambda _: 404, SIDE) as server:
        with pytest.raises(RefusedError, match="status 404"):
            attacked(server.url, pictures, tmp_path / "out", max_queries=50)
        assert not (tmp_path / "out" / "results.json").exists()
        server.rule = brightness_rule
        results = attacked(server.url, pictures, tmp_path / "out", resume=True, max_queries=50)
    assert results["summary"]["failed"] == 0


def test_photos_are_corrupted_at_the_side_that_corruptions_are_published_for(pictures, tmp_path):
    asked = []

    def note(pixels: np.ndarray) -> list[str]:
        asked.extend(pixels.copy())
        return ["bicycle"] * len(pixels)

    photo = pictures / "bicycle/0.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(photo)
    shrunk = to_tensor(load_square(photo, SIDE)[None]), to_tensor(load_square(photo, 224)[None])
    brighter, own_side = (to_pixels(brought_to(corrupt(x, "brightness", 1, [0]), SIDE))[0] for x in reversed(shrunk))
    with serving(note, SIDE) as server:
        attacked(server.url, pictures, tmp_path / "out", attack="corruptions")
    assert any((picture == brighter).all() for picture in asked)
    assert not any((picture == own_side).all() for picture in asked)


@pytest.mark.parametrize("attack", ["spatial-kit", "corruptions"])
def test_unbounded_attacks_ask_what_they_try_and_no_more(attack, pictures, tmp_path):
    with serving(brightness_rule, SIDE) as server:
        results = attacked(server.url, pictures, tmp_path / "out", attack=attack, max_queries=1000, max_l2=0.1)
    bicycles = [image for image in results["images"] if image["label"] == "bicycle"]
    most = 776 if attack == "spatial-kit" else 18
    assert all(image["status"] == "robust" and 10 < image["queries"] <= most for image in bicycles)
    assert (results["parameters"]["max_l2"], results["parameters"]["spatial"]) == (None, "none")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "at whatever distance" in page
    assert "within the limit" not in page
    assert "Spatial map" not in page
    if attack == "spatial-kit":  # a black border makes every bright bird dark
        assert results["summary"]["adversarial"] == 3
