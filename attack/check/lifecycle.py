"""Checks of the container itself: ready, user, memory, shutdown."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

import httpx

from attack.check.findings import Skipped, Unfit
from attack.check.subject import Machine, Subject
from attack.wire.messages import NPY, npy_body
from attack.wire.workers import workers
from model.pixels import Pixels

UNDER_WAY: Final = 4
"""Requests in flight when SIGTERM comes."""
WORK_SHARE: Final = 0.2
"""How much of the time until the end they may take."""
ARRIVAL_S: Final = 0.1
"""From written here to read there."""
AWAKE_S: Final = 0.5
"""How long an endpoint that stalls is waited for; one that answers nothing while it works must not end its work."""
KILLED: Final = 137


def user(subject: Subject) -> tuple[str, dict[str, float]]:
    """The first process is not root's."""
    uid = _machine(subject).user_id()
    if uid == 0:
        raise Unfit("the service runs as root; the image needs a USER other than 0")
    return f"runs as user {uid}, without capabilities, on a read-only root, with no way out to a network", {"uid": uid}


def memory(subject: Subject) -> tuple[str, dict[str, float]]:
    """The most memory during all checks before this one; the engine kills what goes over the limit."""
    machine, limit = _machine(subject), subject.rules.memory_mib
    peak = machine.peak_memory_mib()
    if machine.out_of_memory():
        raise Unfit(f"out of memory: {limit} MiB were not enough, and the engine killed a process")
    return f"at most {peak:.0f} MiB under load, of {limit} MiB", {"peak_mib": peak}


def shutdown(subject: Subject) -> tuple[str, dict[str, float]]:
    """SIGTERM ends the container in time, and what was asked before is answered."""
    machine, within_s = _machine(subject), subject.rules.stop_s
    batch = subject.batch_of(WORK_SHARE * within_s / UNDER_WAY)
    sent = threading.Semaphore(0)
    with workers(UNDER_WAY) as pool:
        asked = [pool.submit(_status, subject, batch, sent) for _ in range(UNDER_WAY)]
        for _ in asked:
            sent.acquire(timeout=subject.rules.request_s)
        with contextlib.suppress(httpx.HTTPError):  # answered: what was connected before it has been accepted
            subject.http.get("/livez", timeout=AWAKE_S)
        time.sleep(ARRIVAL_S)
        elapsed, code = machine.stop(within_s)
        answers = [future.result() for future in asked]
    if elapsed > within_s or code == KILLED:
        raise Unfit(f"SIGTERM was not enough in {within_s:g} s (exit code {code})")
    lost = [answer for answer in answers if answer != "200"]
    if lost:
        raise Unfit(f"{len(lost)} of {UNDER_WAY} requests under way at SIGTERM were not answered: {lost[0]}")
    return f"{elapsed:.1f} s after SIGTERM, {UNDER_WAY} requests under way answered", {"stop_s": elapsed}


def _machine(subject: Subject) -> Machine:
    if subject.machine is None:
        raise Skipped("a URL does not show its container")
    return subject.machine


def _status(subject: Subject, batch: Pixels, sent: threading.Semaphore) -> str:
    body, longest_s = npy_body(batch), subject.allowed_s(UNDER_WAY * len(batch))

    def content() -> Iterator[bytes]:
        yield body
        sent.release()  # asked for more: the batch has been written to the connection

    headers = {"Content-Type": NPY, "Content-Length": str(len(body))}
    try:
        answer = subject.http.post("/predict/batch", content=content(), headers=headers, timeout=longest_s)
        return str(answer.status_code)
    except httpx.HTTPError as error:
        sent.release()
        return type(error).__name__
