"""`trades-bob check` on a live endpoint that is sound, or wrong in one way: exactly that line fails."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attack.check.behaviour import _repeated, throughput
from attack.check.findings import Finding
from attack.check.rules import Rules
from attack.check.run import CHECKS, check_url
from attack.check.subject import CONNECTIONS, Subject
from attack.wire.messages import NPY, npy_body
from model.labels import LABELS
from server.limits import make_key
from tests.live_server import live_server
from tests.toy_endpoint import serving

pytestmark = pytest.mark.integration

SIDE = 16
SUBMISSION = Path(__file__).parent.parent / "submission.py"
# On a machine that stalls a sound endpoint may be slow: only the slow one is held to a rate, twice what it can.
QUICK = Rules(repeats=40, min_images_per_s=1, measure_s=0.3, request_s=20)
FAST = QUICK.model_copy(update={"min_images_per_s": 100})


@contextmanager
def submission(fault):
    """A process of tests/submission.py; yields its URL."""
    process = subprocess.Popen([sys.executable, str(SUBMISSION), "--fault", fault], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Dark bicycles and bright birds, as the submission's rule has them."""
    folder, random = tmp_path_factory.mktemp("clean"), np.random.default_rng(0)
    for name, base in (("bicycle", 80), ("bird", 175)):
        (folder / name).mkdir()
        for index in range(6):
            pixels = base + random.integers(-30, 30, (48, 40, 3)) + index
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def findings(fault, images):
    told: list[Finding] = []
    with submission(fault) as url:
        report = check_url(url, FAST if fault == "slow" else QUICK, images, None, told.append)
    assert told == report.findings
    return report


def test_a_sound_endpoint_is_fit(clean):
    report = findings("none", clean)
    outcomes = {finding.check: finding.outcome for finding in report.findings}
    assert outcomes == dict.fromkeys(["ready", *CHECKS], "pass") | dict.fromkeys(["user", "memory", "shutdown"], "skip")
    assert report.fit


@pytest.mark.parametrize(
    ("fault", "line", "reason"),
    [
        ("body", "labels only", "brightness"),
        ("header", "labels only", "x-trace"),
        ("padding", "labels only", "the body of BMP body tells"),
        ("batch", "labels only", "the header x-trace of multipart batch tells"),
        ("file", "labels only", "the answer to PNG body also tells ['brightness']"),
        ("jpeg", "labels only", "the header x-trace of JPEG body tells"),
        ("form", "labels only", "the header x-trace of multipart tells"),
        ("error", "labels only", "the key 'detail' of a cut batch tells"),
        ("metric", "labels only", "toy_last_brightness"),
        ("counter", "labels only", "the step of the metric toy_sum tells"),
        ("random", "determinism", "40 times alone: bi"),
        ("company", "determinism", "in a batch of"),
        (
            "abstain",
            "abstention",
            "12 of 12 clean photos abstained on (100.0%, 95% interval 75.8% to 100.0%; at most 20%)",
        ),
        ("wrong", "accuracy", "0 of 12 answered photos right"),
        ("slow", "throughput", "images/s"),
        ("bomb", "malformed input", "a decompression bomb: the endpoint answers no more"),
        ("flaky", "determinism", "good requests were answered with a server error"),
        ("careless", "malformed input", "status 500, expected a 4xx"),
    ],
)
def test_each_fault_fails_on_its_line(clean, fault, line, reason):
    report = findings(fault, clean)
    failed = {finding.check: finding.reason for finding in report.findings if finding.outcome == "fail"}
    assert reason in failed.pop(line)
    # What is no shape of an answer (a 500 instead of a 4xx, or now and then) breaks the API's line too.
    assert set(failed) <= {"flaky": {"api", "labels only", "malformed input"}, "careless": {"api"}}.get(fault, set())
    assert not report.fit


def test_the_time_of_a_request_is_that_of_each_picture_in_it(monkeypatch):
    """A batch takes a second and a half, a picture alone far less than one: fit under a rule of a second a picture."""
    rules = QUICK.model_copy(update={"request_s": 1.0})
    monkeypatch.setattr(Subject, "batch_of", lambda subject, _: np.repeat(subject.samples.pixels[:1], 50, axis=0))
    with submission("slow") as url, Subject(url, rules) as subject:
        _, figures = throughput(subject)
    assert figures["batch"] == 50


def test_a_batch_takes_about_as_long_as_it_is_to():
    with submission("slow") as url, Subject(url, QUICK) as subject:
        assert 1 <= len(subject.batch_of(0.3)) <= 10


def test_who_waits_for_others_has_their_time_too():
    """Eight at once are answered in two seconds, one after another: a rule of a second each is kept."""
    with submission("queue") as url, Subject(url, Rules(request_s=1.0)) as subject:
        _repeated(subject, 8)


def _endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 2**16 + b"\r\n")


def _drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"1\r\nx\r\n")
        time.sleep(0.05)


@pytest.mark.parametrize(("go_on", "words"), [(_endless, "larger than 1,048,576 bytes"), (_drip, "ReadTimeout")])
def test_an_answer_without_end_ends_with_the_rules(go_on, words):
    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with closing(connection), suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    go_on(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        report = check_url(url, Rules(request_s=0.5), None, None, lambda _: None)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert time.monotonic() - started < 5
    assert not report.fit
    assert words in report.findings[0].reason


def test_what_is_asked_of_a_check_by_a_body_that_is_made_meanwhile_is_sent_whole():
    with submission("none") as url, Subject(url, QUICK) as subject:
        body = npy_body(np.zeros((2, 16, 16, 3), np.uint8))
        headers = {"Content-Type": NPY, "Content-Length": str(len(body))}
        answer = subject.http.post("/predict/batch", content=iter([body[:100], body[100:]]), headers=headers)
    assert answer.json() == {"labels": ["bicycle"] * 2}


def test_no_proxy_stands_before_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with submission("none") as url, Subject(url, QUICK) as subject:
        assert subject.http.get("/readyz").status_code == 200
        assert subject.client.predict(subject.samples.pixels[0]) in LABELS


def test_elsewhere_the_environments_proxy_is_asked(monkeypatch):
    with serving(lambda pixels: ["bird"] * len(pixels), 16) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Subject("http://bob.example", QUICK) as subject:
            assert subject.http.get("/readyz").status_code == 200
            assert subject.client.predict(np.zeros((16, 16, 3), np.uint8)) == "bird"


def test_an_endpoint_that_wants_a_key_gets_the_environments(monkeypatch, bundle, tmp_path):
    key, line = make_key("ann")
    keys = tmp_path / "keys.txt"
    keys.write_text(line + "\n")
    with live_server(tmp_path, bundle, "tests.fake_runtime:open_runtime", api_keys_file=keys) as server:
        for given, outcome in ((key, "pass"), ("", "fail")):
            monkeypatch.setenv("TRADES_BOB_API_KEY", given)
            report = check_url(server.url, QUICK, None, None, lambda _: None)
            outcomes = {finding.check: finding.outcome for finding in report.findings}
            assert {outcomes[check] for check in ("api", "labels only", "determinism")} == {outcome}, report


def test_a_container_under_check_is_shown_no_key(monkeypatch):
    monkeypatch.setenv("TRADES_BOB_API_KEY", "tb_abc")
    with Subject("http://127.0.0.1:9", QUICK, machine=object()) as subject:
        assert "Authorization" not in subject.http.headers
        assert "Authorization" not in subject.client.http.headers


def test_without_photos_the_checks_that_need_truth_are_skipped():
    report = findings("none", None)
    skipped = {finding.check: finding.reason for finding in report.findings if finding.outcome == "skip"}
    assert "--images" in skipped["abstention"]
    assert "--images" in skipped["accuracy"]


def test_an_endpoint_that_is_not_there_fails_in_one_line():
    report = check_url("http://127.0.0.1:9", QUICK, None, None, lambda _: None)
    assert report.findings[0].line().startswith("fail  ready: no answer to GET /readyz: ConnectError")
    assert {finding.outcome for finding in report.findings[1:]} == {"skip"}


def test_the_command_writes_json_and_tells_the_verdict_by_its_exit_code(clean, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text("repeats = 5\nmeasure_s = 0.3\n")
    with submission("wrong") as url:
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "trades_bob",
                "check",
                url,
                "--images",
                clean,
                "--rules",
                rules,
                "--json",
                tmp_path / "report.json",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1].startswith(f"not fit  {url}: ")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["fit"] is False
    assert [finding["check"] for finding in report["findings"]] == ["ready", *CHECKS]


def test_an_interrupt_waits_for_no_answer():
    interrupted_at: list[float] = []

    def interrupt() -> None:
        while server.in_flight < CONNECTIONS:
            time.sleep(0.01)
        interrupted_at.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with serving(lambda pixels: ["bird"] * len(pixels), SIDE, delay_s=3) as server:
            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt), Subject(server.url, QUICK) as subject:
                _repeated(subject, 5 * CONNECTIONS)
            assert time.monotonic() - interrupted_at[0] < 1.5
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["ftp://example.org"], "give http://HOST:PORT"),
        (["http://127.0.0.1:9", "--images", "nowhere"], "no such folder"),
        (["http://127.0.0.1:9", "--rules", "nowhere.toml"], "rules are contest, warm-up or a TOML file"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(arguments, reason):
    run = subprocess.run(
        [sys.executable, "-m", "trades_bob", "check", *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert reason in run.stderr
    assert len(run.stderr.splitlines()) == 1
