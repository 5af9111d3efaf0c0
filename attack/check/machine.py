"""A submission's container under the rules: started on a network without a way out, watched, stopped, removed."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import httpx

from attack.check.bounded import bounded_client
from attack.check.findings import Unfit
from attack.check.rules import Rules
from model.errors import ConfigError, EndpointError, UserError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

PORT: Final = 8000
POLL_S: Final = 0.1
READY_ANSWER_S: Final = 2.0
MIB: Final = 2**20


class NoEngineError(UserError):
    """No Docker engine answers, or it lacks the image."""


class DockerMachine:
    """One running submission."""

    def __init__(self, container: Container, network: str) -> None:
        self._container = container
        self._network = network
        self._peak_bytes = 0
        self._started_at = 0.0

    def start(self) -> None:
        """Start it and its watch. Raises Unfit when the engine cannot."""
        import docker.errors  # noqa: PLC0415

        self._started_at = time.monotonic()
        try:
            self._container.start()
        except docker.errors.APIError as error:
            raise Unfit(f"the container does not start: {error.explanation}") from error
        threading.Thread(target=self._watch_memory, daemon=True).start()

    @property
    def url(self) -> str:
        """Where the engine's host reaches the container; its network has no other neighbour."""
        self._container.reload()
        address = self._container.attrs["NetworkSettings"]["Networks"][self._network]["IPAddress"]
        return f"http://{address}:{PORT}"

    def wait_until_ready(self, at_most_s: float) -> float:
        """Seconds from the start to the first 200 of /readyz. Raises Unfit when it ends or stays silent."""
        answer = "nothing"
        while (elapsed := time.monotonic() - self._started_at) < at_most_s:
            if ended := self.ended():
                raise Unfit(f"the container ended ({ended}): {self.last_log_line()}")
            with (
                contextlib.suppress(httpx.HTTPError, EndpointError),
                bounded_client(self.url, READY_ANSWER_S, {}, straight=True) as http,
            ):
                status = http.get("/readyz").status_code
                if status == httpx.codes.OK:
                    return elapsed
                answer = f"status {status}"
            time.sleep(POLL_S)
        raise Unfit(f"/readyz answers {answer} after {at_most_s:g} s: {self.last_log_line()}")

    def ended(self) -> str | None:
        """`exit code 137, out of memory`; None while it runs."""
        self._container.reload()
        state = self._container.attrs["State"]
        if state["Running"]:
            return None
        return f"exit code {state['ExitCode']}" + (", out of memory" if state["OOMKilled"] else "")

    def out_of_memory(self) -> bool:
        """Whether the engine killed a process of it for its memory."""
        self._container.reload()
        return bool(self._container.attrs["State"]["OOMKilled"])

    def peak_memory_mib(self) -> float:
        """The most that the container held, without the file cache."""
        return self._peak_bytes / MIB

    def user_id(self) -> int:
        """The numeric user of the first process, as the engine's host sees it."""
        top = self._container.top(ps_args="-eo uid,pid")
        return int(top["Processes"][0][top["Titles"].index("UID")])

    def label(self, name: str) -> str:
        """A label of the image."""
        return str(self._container.labels.get(name, ""))

    def stop(self, at_most_s: float) -> tuple[float, int]:
        """SIGTERM, SIGKILL after the time (whole seconds): seconds it took and the exit code."""
        started = time.monotonic()
        self._container.stop(timeout=max(1, round(at_most_s)))
        elapsed = time.monotonic() - started
        self._container.reload()
        return elapsed, int(self._container.attrs["State"]["ExitCode"])

    def last_log_line(self) -> str:
        """What it said last, for the reason of a failure."""
        lines = self._container.logs(tail=1).decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it logged nothing"

    def _watch_memory(self) -> None:
        """Follow the engine's statistics, one a second, until the container is gone."""
        import docker.errors  # noqa: PLC0415

        with contextlib.suppress(docker.errors.DockerException, httpx.HTTPError, OSError):
            for stats in self._container.stats(decode=True):
                memory: dict[str, Any] = stats.get("memory_stats", {})
                held = memory.get("usage", 0) - memory.get("stats", {}).get("inactive_file", 0)
                self._peak_bytes = max(self._peak_bytes, held)


@contextlib.contextmanager
def running(image: str, rules: Rules, gpus: bool = False) -> Iterator[DockerMachine]:
    """Start `image` under the rules and remove it, and its network, afterwards. Raises NoEngineError."""
    import docker.errors  # noqa: PLC0415

    engine = _engine()
    try:
        engine.images.get(image)  # the SDK would pull what is missing
    except docker.errors.ImageNotFound as error:
        raise NoEngineError(f"the engine has no image {image!r}; build or pull it first, or give a URL") from error
    name = f"trades-bob-check-{secrets.token_hex(4)}"
    network = engine.networks.create(name, internal=True)
    try:
        container = engine.containers.create(image, **_options(engine, name, rules, gpus))
        try:
            yield DockerMachine(container, name)
        finally:
            container.remove(force=True, v=True)
    finally:
        network.remove()


def _options(engine: DockerClient, name: str, rules: Rules, gpus: bool) -> dict[str, Any]:
    from docker.types import DeviceRequest  # noqa: PLC0415

    return {
        "name": name,
        "network": name,
        "read_only": True,
        "tmpfs": {"/tmp": "size=256m,mode=1777"},  # noqa: S108  (inside the container)
        "mem_limit": rules.memory_mib * MIB,
        "memswap_limit": rules.memory_mib * MIB,
        "nano_cpus": int(min(rules.cpus, engine.info()["NCPU"]) * 1e9),
        "pids_limit": rules.pids,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])] if gpus else None,
    }


def _engine() -> DockerClient:
    try:
        import docker  # noqa: PLC0415
        import docker.errors  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError("checking an image needs the docker SDK: pip install 'trades-bob[check]'") from error
    try:
        engine = docker.from_env()
        engine.ping()
    except docker.errors.DockerException as error:
        raise NoEngineError("no Docker engine answers; start one, set DOCKER_HOST, or give a URL") from error
    return engine
