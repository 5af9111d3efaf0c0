"""`trades-bob check IMAGE`: the project's own image is fit, and each bad image fails on its line."""

import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from attack.check.machine import NoEngineError
from attack.check.rules import Rules
from attack.check.run import CHECKS, check_image
from tests.container.live import url_of

pytestmark = pytest.mark.container

TESTS = Path(__file__).resolve().parent.parent
# On a machine that stalls a sound image may be slow: only the slow one is held to a rate, twice what it can.
QUICK = Rules(memory_mib=1024, ready_s=90, request_s=20, repeats=40, measure_s=0.3, min_images_per_s=1)
FAST = QUICK.model_copy(update={"min_images_per_s": 100})


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Dark bicycles and bright birds."""
    folder, random = tmp_path_factory.mktemp("clean"), np.random.default_rng(0)
    for name, base in (("bicycle", 80), ("bird", 175)):
        (folder / name).mkdir()
        for index in range(6):
            pixels = base + random.integers(-30, 30, (40, 40, 3)) + index
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def submission(environment, image):
    """Build a submission with a fault; its name."""

    def make(fault, uid=10001):
        name = f"trades-bob-submission:{fault}-{uid}"
        arguments = ["--build-arg", f"FAULT={fault}", "--build-arg", f"UID={uid}"]
        dockerfile = TESTS / "container" / "submission.Dockerfile"
        command = ["docker", "build", "--quiet", "--tag", name, "--file", dockerfile, *arguments, TESTS]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
        return name

    return make


def failures(image, clean, rules=QUICK):
    report = check_image(image, rules, clean, None, lambda _: None)
    return {finding.check: finding.reason for finding in report.findings if finding.outcome == "fail"}


def leftovers(engine):
    containers = engine.containers.list(all=True, filters={"name": "trades-bob-check"})
    return [*containers, *engine.networks.list(filters={"name": "trades-bob-check"})]


def test_a_sound_submission_is_fit_whatever_proxy_the_environment_names(submission, clean, engine, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    report = check_image(submission("none"), QUICK, clean, None, lambda _: None)
    assert [(f.check, f.outcome) for f in report.findings] == [(name, "pass") for name in ("ready", *CHECKS)]
    assert leftovers(engine) == []


def test_the_projects_own_image_is_fit(image, photos, engine):
    """Random weights know no bird: what they answer is not judged here, everything else is."""
    rules = Rules(repeats=40, measure_s=1, ready_s=90, min_accuracy=0, max_abstain=1, stop_s=15)
    report = check_image("trades-bob", rules, photos / "val", 24, lambda _: None)
    assert [(f.check, f.outcome, f.reason) for f in report.findings if f.outcome != "pass"] == []
    assert leftovers(engine) == []


@pytest.mark.parametrize(
    ("fault", "line", "reason"),
    [
        ("body", "labels only", "the answer to npy also tells ['brightness']"),
        ("header", "labels only", "the header x-trace of BMP body tells"),
        ("form", "labels only", "the header x-trace of multipart tells"),
        ("random", "determinism", "40 times alone: bi"),
        ("company", "determinism", "in a batch of"),
        ("abstain", "abstention", "12 of 12 clean photos abstained on"),
        ("wrong", "accuracy", "0 of 12 answered photos right"),
        ("slow", "throughput", "images/s"),
        ("bomb", "malformed input", "a decompression bomb ended the container (exit code 3)"),
        ("stubborn", "shutdown", "SIGTERM was not enough in 5 s (exit code 137)"),
        ("dead", "ready", "the container ended (exit code 1): no weights here"),
        ("online", "ready", "the container ended (exit code 1): cannot start: Network is unreachable"),
        ("writes", "ready", "the container ended (exit code 1): cannot start: Read-only file system"),
    ],
)
def test_each_bad_image_fails_on_its_line_alone(submission, clean, engine, fault, line, reason):
    failed = failures(submission(fault), clean, FAST if fault == "slow" else QUICK)
    assert list(failed) == [line]
    assert reason in failed[line]
    assert leftovers(engine) == []


@pytest.mark.parametrize("fault", ["online", "writes"])
def test_what_the_rules_forbid_is_all_that_such_an_image_lacks(submission, start, fault):
    """Where it may reach out and write, it serves."""
    with start(submission(fault)) as container:
        assert httpx.get(f"{url_of(container)}/readyz", timeout=10).status_code == 200


def test_what_ends_the_container_is_told_where_it_happened_and_nothing_after_it_is_judged(submission, clean):
    report = check_image(submission("memory"), QUICK, clean, None, lambda _: None)
    told = {finding.check: finding for finding in report.findings if finding.outcome == "fail"}
    assert list(told) == ["api", "memory"]
    assert told["api"].reason.endswith("the container ended (exit code 137, out of memory)")
    assert told["memory"].reason == "out of memory: 1024 MiB were not enough, and the engine killed a process"
    skipped = next(finding for finding in report.findings if finding.check == "accuracy")
    assert (skipped.outcome, skipped.reason) == ("skip", "the container had ended (exit code 137, out of memory)")


def test_an_image_that_runs_as_root_fails_on_that_line_alone(submission, clean):
    assert failures(submission("none", uid=0), clean) == {
        "user": "the service runs as root; the image needs a USER other than 0"
    }


def test_a_submission_that_is_never_ready_fails_with_what_it_answers(submission, clean):
    failed = failures(submission("silent"), clean, QUICK.model_copy(update={"ready_s": 30.0}))
    assert list(failed) == ["ready"]
    assert failed["ready"].startswith("/readyz answers status 503 after 30 s")


def test_an_image_that_is_not_there_is_the_users_mistake(engine, clean):
    with pytest.raises(NoEngineError, match="the engine has no image 'no-such-image'"):
        check_image("no-such-image", QUICK, clean, None, lambda _: None)
