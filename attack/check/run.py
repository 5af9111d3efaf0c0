"""All checks in order: on an image, started under the rules, or on a URL."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx

from attack.check.behaviour import abstention, accuracy, determinism, throughput
from attack.check.findings import Finding, Report, Skipped, Unfit
from attack.check.hostile import malformed_input
from attack.check.interface import api_shape
from attack.check.leaks import labels_only
from attack.check.lifecycle import memory, shutdown, user
from attack.check.machine import DockerMachine, running
from attack.check.rules import Rules
from attack.check.subject import NOTICE_S, Check, Subject
from attack.wire.connection import base_url
from model.errors import EndpointError, UserError
from model.photos import find_photos

CHECKS: Final[dict[str, Check]] = {
    "user": user,
    "api": api_shape,
    "labels only": labels_only,
    "determinism": determinism,
    "abstention": abstention,
    "accuracy": accuracy,
    "throughput": throughput,
    "malformed input": malformed_input,
    "memory": memory,
    "shutdown": shutdown,
}
Tell = Callable[[Finding], None]


def check_image(
    image: str, rules: Rules, images: Path | None, limit: int | None, tell: Tell, gpus: bool = False
) -> Report:
    """Start `image` under the rules, check it, remove it. `tell` hears each finding as it is made."""
    _try_photos(images)
    with ExitStack() as stack:
        machine = stack.enter_context(running(image, rules, gpus))
        ready = _finding("ready", lambda: _ready(machine, rules))
        subject = None
        if ready.outcome == "pass":
            subject = stack.enter_context(Subject(machine.url, rules, images, limit, machine))
        return _report(image, rules, ready, subject, tell)


def check_url(url: str, rules: Rules, images: Path | None, limit: int | None, tell: Tell) -> Report:
    """Check a live endpoint, as far as that can be done without its container."""
    _try_photos(images)
    with Subject(base_url(url), rules, images, limit) as subject:
        return _report(url, rules, _finding("ready", lambda: _answers(subject)), subject, tell)


def _report(name: str, rules: Rules, ready: Finding, subject: Subject | None, tell: Tell) -> Report:
    report = Report(name, rules)

    def add(finding: Finding) -> None:
        report.findings.append(finding)
        tell(finding)

    add(ready)
    for check, make in CHECKS.items():
        if subject is None or ready.outcome != "pass":
            add(Finding(check, "skip", "not ready"))
        elif check != "memory" and (ended := subject.ended()):
            add(Finding(check, "skip", f"the container had ended ({ended})"))
        else:
            add(_finding(check, lambda make=make: make(subject), subject))  # type: ignore[misc]
    return report


def _finding(name: str, check: Callable[[], tuple[str, dict[str, float]]], subject: Subject | None = None) -> Finding:
    try:
        return Finding(name, "pass", *check())
    except Skipped as reason:
        return Finding(name, "skip", str(reason))
    except Unfit as reason:
        return Finding(name, "fail", str(reason))
    except UserError:
        raise  # a photo that cannot be read, not an answer
    except Exception as error:  # noqa: BLE001  (whatever a hostile endpoint answers is a finding about it)
        ended = subject.ended(NOTICE_S) if subject else None
        return Finding(name, "fail", _fault(error) + (f"; the container ended ({ended})" if ended else ""))


def _fault(error: Exception) -> str:
    """What a request that was not answered, or not as one can read, says of the endpoint."""
    if isinstance(error, EndpointError):
        return str(error)
    if isinstance(error, httpx.HTTPError):
        request = f" to {error.request.method} {error.request.url.path}" if error._request else ""
        return f"no answer{request}: {type(error).__name__} {error}".rstrip()
    return f"an answer that cannot be read: {type(error).__name__} {error}".rstrip()


def _ready(machine: DockerMachine, rules: Rules) -> tuple[str, dict[str, float]]:
    machine.start()
    seconds = machine.wait_until_ready(rules.ready_s)
    return f"{seconds:.1f} s after the start (at most {rules.ready_s:g} s)", {"ready_s": seconds}


def _answers(subject: Subject) -> tuple[str, dict[str, float]]:
    status = subject.http.get("/readyz").status_code
    if status != httpx.codes.OK:
        raise Unfit(f"/readyz answers {status}")
    return "/readyz answers 200", {}


def _try_photos(images: Path | None) -> None:
    """A folder that is none is the user's mistake, told before anything is started."""
    if images is not None:
        find_photos(images)
