"""What the service does when things go wrong: dead workers, full queues, slow and vanished clients, signals."""

import asyncio
import os
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

from server.limits import make_key
from server.pace import GRACE_S
from tests.fake_runtime import CRASH, HANG, SIZE, square
from tests.live_server import NPY, LiveServer, live_server, npy, wait_for, wait_until_read

pytestmark = pytest.mark.integration
FACTORY = "tests.fake_runtime:open_runtime"


def ask(server: LiveServer, pixels: np.ndarray | None = None, **options: object) -> httpx.Response:
    path = "/predict" if pixels is None or pixels.ndim == 3 else "/predict/batch"
    body = npy(square("bird") if pixels is None else pixels)
    return httpx.post(server.url + path, content=body, timeout=40, **{"headers": NPY, **options})


def corner(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), colour, np.uint8)


def test_a_killed_worker_is_seen_and_replaced(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, FAKE_OPEN_S=4) as server:
        pid = server.worker_pid()
        os.kill(pid, signal.SIGKILL)
        reasons = {"Not ready: the worker is being restarted.", "Not ready: the model is being loaded."}
        wait_for(lambda: httpx.get(f"{server.url}/readyz").json().get("detail") in reasons)
        assert httpx.get(f"{server.url}/livez").status_code == 200
        assert ask(server).json() == {"label": "bird"}  # asked without a worker, answered by the next one
        server.wait_ready()
        assert server.worker_pid() != pid
        assert server.metric("worker_restarts") == 1


def test_a_stopped_worker_is_not_ready(server: LiveServer) -> None:
    with server.worker_stopped():
        wait_for(lambda: not server.is_ready())
        assert "no sign of life" in httpx.get(f"{server.url}/readyz").json()["detail"]
    wait_for(server.is_ready)


def test_a_hanging_worker_is_replaced(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, worker_timeout_s=1) as server, ThreadPoolExecutor() as pool:
        hanging = pool.submit(ask, server, corner(HANG))
        wait_for(lambda: '"worker hangs"' in server.log)
        assert ask(server).json() == {"label": "bird"}
        assert hanging.result().status_code == 503


def test_a_worker_may_load_for_longer_than_a_batch_may_take(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, worker_timeout_s=1, FAKE_OPEN_S=2) as server:
        assert ask(server).json() == {"label": "bird"}


def test_a_worker_that_hangs_while_it_loads_is_replaced(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, ready=False, load_timeout_s=0.5, FAKE_OPEN_S=600) as server:
        wait_for(lambda: server.log.count('"worker started"') >= 2, 60)
        assert '"worker hangs"' in server.log


def test_a_picture_that_kills_the_worker_spares_its_neighbours(server: LiveServer) -> None:
    mixed = np.stack([square("bird"), square("bicycle"), corner(CRASH), square("bird")])
    with ThreadPoolExecutor() as pool:
        neighbours = [pool.submit(ask, server) for _ in range(6)]
        poisoned = pool.submit(ask, server, mixed)
        answer = poisoned.result()
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:trades-bob:unavailable")
        assert [one.result().json() for one in neighbours] == [{"label": "bird"}] * 6
    assert ask(server).json() == {"label": "bird"}
    assert server.metric("images_in_house") == 0


def test_dispatched_at_once_when_idle_and_together_when_busy(server: LiveServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        with server.worker_stopped():
            answers = [pool.submit(ask, server)]
            wait_for(lambda: server.metric("decode_seconds_count") == 1)
            answers += [pool.submit(ask, server) for _ in range(8)]
            wait_for(lambda: server.metric("decode_seconds_count") == 9)
        assert {answer.result().status_code for answer in answers} == {200}
    assert (server.metric("batch_size_count"), server.metric("batch_size_sum")) == (2, 9)


def test_a_full_server_says_so(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, max_queue=8) as server, ThreadPoolExecutor(24) as pool:
        with server.worker_stopped():
            asked = [pool.submit(ask, server) for _ in range(24)]
            wait_for(lambda: sum(answer.done() for answer in asked) >= 16)
        answers = [answer.result() for answer in asked]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert len(refused) == 16
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert ask(server, np.stack([square("bird")] * 9)).status_code == 413  # never more than the queue holds
        assert ask(server).status_code == 200


def test_a_deadline(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, request_timeout_s=0.5) as server:
        with server.worker_stopped():  # which would never answer
            answer = ask(server)
        assert (answer.status_code, answer.json()["detail"]) == (503, "The time for this request is over.")
        wait_for(lambda: server.metric("images_in_house") == 0)


def test_work_of_vanished_clients_is_dropped(server: LiveServer) -> None:
    body = npy(np.stack([square("bird")] * 40))
    with server.worker_stopped():
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(npy_head("/predict/batch", len(body)) + body)
            wait_for(lambda: server.metric("decode_seconds_count") == 1)
        wait_for(lambda: server.metric("disconnects_total") == 1)
        assert server.metric("images_in_house") == 8  # those in the worker
    wait_for(lambda: server.metric("images_in_house") == 0)
    assert server.metric("batch_size_sum") == 8


def test_sigterm_drains(server: LiveServer) -> None:
    with ThreadPoolExecutor() as pool:
        worker = server.worker_pid()
        with server.worker_stopped():
            answers = [pool.submit(ask, server, np.stack([square("bird")] * 12)) for _ in range(3)]
            wait_for(lambda: server.metric("images_in_house") == 36)
            server.process.terminate()
            wait_for(lambda: "Shutting down" in server.log)
        assert server.process.wait(timeout=40) == 0
        assert [answer.result().json() for answer in answers] == [{"labels": ["bird"] * 12}] * 3
        wait_for(lambda: not Path(f"/proc/{worker}").exists())


def test_a_dead_server_takes_its_worker_along(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY) as server:
        worker = server.worker_pid()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not Path(f"/proc/{worker}").exists())


def test_reload_loses_no_request(bundle: Path) -> None:
    statuses: list[int] = []

    async def stream(server: LiveServer, stop: asyncio.Event) -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=40) as client:
            while not stop.is_set():
                answer = await client.post("/predict", content=npy(square("bird")), headers=NPY)
                statuses.append(answer.status_code)

    async def reload(server: LiveServer) -> None:
        stop = asyncio.Event()
        streams = [asyncio.create_task(stream(server, stop)) for _ in range(4)]
        (bundle / "bundle.json").write_text("b" * 64)
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(wait_for, lambda: statuses and '"reloaded"' in server.log)
        before = len(statuses)
        await asyncio.to_thread(wait_for, lambda: len(statuses) >= before + 12)
        stop.set()
        await asyncio.gather(*streams)

    with live_server(bundle, bundle, FACTORY, FAKE_DELAY_S=0.02) as server:
        old = server.worker_pid()
        asyncio.run(reload(server))
        assert set(statuses) == {200}
        assert httpx.get(f"{server.url}/info").json()["weights_sha256"] == "b" * 64
        wait_for(lambda: not Path(f"/proc/{old}").exists())


def test_a_bad_bundle_does_not_replace_a_good_one(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY) as server:
        (bundle / "bundle.json").unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: '"reload failed"' in server.log)
        assert ask(server).json() == {"label": "bird"}
        assert server.is_ready()


@pytest.mark.parametrize("remedy", ["put back", "reloaded"])
def test_a_worker_that_dies_is_not_replaced_by_one_with_other_weights(bundle: Path, remedy: str) -> None:
    with live_server(bundle, bundle, FACTORY, request_timeout_s=3) as server:
        (bundle / "bundle.json").write_text("b" * 64)
        os.kill(server.worker_pid(), signal.SIGKILL)
        wait_for(lambda: "not the bundle in service any more" in server.log)
        assert ask(server).status_code == 503
        assert not server.is_ready()
        if remedy == "put back":
            (bundle / "bundle.json").write_text("a" * 64)
        else:
            server.process.send_signal(signal.SIGHUP)
        server.wait_ready()
        assert httpx.get(f"{server.url}/info").json()["weights_sha256"] == ("a" if remedy == "put back" else "b") * 64
        assert ask(server).json() == {"label": "bird"}


def test_slow_heads_and_bodies(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, header_timeout_s=1, body_timeout_s=1) as server:
        for sent in (b"", b"POST /predict HTTP/1.1\r\nHost: x\r\n"):
            assert b" 408 " in exchange(server, sent).split(b"\r\n")[0]
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\nContent-Length: 900\r\n\r\n"
        answer = exchange(server, head + b"\x93NUMPY")
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert b"urn:trades-bob:slow-body" in answer
        wait_for(lambda: ask(server).status_code == 200)  # a second is little on a machine that stalls


def test_heads_that_never_end(server: LiveServer) -> None:
    answer = exchange(server, b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 200_000)
    assert b" 431 " in answer.split(b"\r\n")[0]
    assert b" 400 " in exchange(server, b"\x16\x03\x01 not http\r\n\r\n").split(b"\r\n")[0]
    assert ask(server).status_code == 200


def test_half_closed_sockets_and_silence(server: LiveServer) -> None:
    body = npy(square("bird"))
    for sent in (b"POST /predict HT", npy_head("/predict", len(body)), npy_head("/predict", len(body)) + body[:100]):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert b"cut short" in connection.recv(1000)
    for sent in (b"", npy_head("/predict", len(body)) + body):  # nothing asked; asked, and gone
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
    assert ask(server).status_code == 200
    wait_for(lambda: server.metric("images_in_house") == 0)


def test_too_many_connections(bundle: Path) -> None:
    get = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with live_server(bundle, bundle, FACTORY, max_connections=5) as server, ExitStack() as stack:

        def connect(sent: bytes) -> socket.socket:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            connection.sendall(sent)
            wait_until_read(connection)
            time.sleep(0.1)  # the server's clock must tell who came first
            return connection

        crowd = [connect(sent) for sent in (b"", b"GET /livez HTT", get, get, get)]
        crowd[2].sendall(get)  # it has waited less than the others now
        for old, told in ((0, b" 503 "), (1, b" 503 "), (3, b" 200 "), (4, b" 200 "), (2, b" 200 ")):
            assert b" 200 " in connect(get).recv(1000)
            with crowd[old].makefile("rb") as answers:
                received = answers.read()
            assert told in received.split(b"\r\n")[0]
            assert received.count(b"HTTP/1.1 ") == (2 if old == 2 else 1)


def test_bodies_that_drip_give_way(bundle: Path) -> None:
    """Behind those that ask nothing: a byte now and then would hold a place for as long as a body may take."""
    get, half = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", npy_head("/predict", 1000) + b"x"
    with live_server(bundle, bundle, FACTORY, max_connections=3) as server, ExitStack() as stack:

        def connect(sent: bytes) -> socket.socket:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            connection.sendall(sent)
            wait_until_read(connection)
            return connection

        idle, *slow = [connect(sent) for sent in (get, half, half)]
        time.sleep(GRACE_S + 0.5)
        connect(half)
        with idle.makefile("rb") as answers:
            assert b" 200 " in answers.readline()
            assert answers.read().endswith(b"}")
        assert b" 200 " in connect(get).recv(1000)
        (told,) = select.select(slow, [], [], 0.5)[0]
        assert b" 503 " in told.recv(1000)


def test_a_connection_in_use_gives_way_to_none(bundle: Path) -> None:
    body = npy(square("bird"))
    with live_server(bundle, bundle, FACTORY, max_connections=5) as server, ExitStack() as stack:
        with server.worker_stopped():
            crowd = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(5)
            ]
            for connection in crowd:
                connection.sendall(npy_head("/predict", len(body)) + body)
                wait_until_read(connection)
            assert b" 503 " in exchange(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(b" 200 " in connection.recv(1000) for connection in crowd)


def test_requests_before_the_model_is_open_take_no_place(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, ready=False, max_queue=4, FAKE_OPEN_S=8) as server:
        wait_for(lambda: '"worker started"' in server.log)
        with server.worker_stopped():
            answers = [ask(server) for _ in range(12)]
        assert {(answer.status_code, answer.json()["detail"]) for answer in answers} == {
            (503, "The model is being loaded.")
        }
        server.wait_ready()
        assert ask(server, np.stack([square("bird")] * 4)).json() == {"labels": ["bird"] * 4}


def test_bodies_in_hand_are_bounded(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, max_buffered_bytes=100_000, max_body_bytes=80_000) as server:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 80000\r\n\r\n"
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
        for connection in crowd:
            connection.sendall(head)
            wait_until_read(connection)
        assert ask(server, np.zeros((90, 90, 3), np.uint8)).status_code == 200  # announcing shuts nobody out
        crowd[0].sendall(bytes(79_990))
        wait_until_read(crowd[0])
        assert ask(server, np.zeros((90, 90, 3), np.uint8)).status_code == 503
        for connection in crowd:
            connection.close()
        wait_for(lambda: ask(server, np.zeros((90, 90, 3), np.uint8)).status_code == 200)


def test_a_body_that_could_never_be_held_is_too_large(bundle: Path) -> None:
    with live_server(bundle, bundle, FACTORY, max_buffered_bytes=20_000, max_body_bytes=80_000) as server:
        assert ask(server, np.zeros((90, 90, 3), np.uint8)).status_code == 413
        limit = httpx.get(f"{server.url}/info").json()["limits"]["max_body_bytes"]
        largest = np.zeros((1, (limit - 128) // 3, 3), np.uint8)  # an npy head has 128 bytes
        assert ask(server, largest[:, :50]).status_code == 200
        assert ask(server, largest).status_code == 422  # read, and found to be a line


@pytest.mark.parametrize(
    "settings", [{"max_batch": 5}, {"max_queue": 5}, {"rate_limit_per_s": 0.001, "rate_burst": 5}], ids=str
)
def test_who_keeps_to_the_stated_batch_is_answered(bundle: Path, settings: dict[str, float]) -> None:
    with live_server(bundle, bundle, FACTORY, **settings) as server:
        assert httpx.get(f"{server.url}/info").json()["limits"]["max_batch"] == 5
        form = httpx.get(f"{server.url}/openapi.json").json()["paths"]["/predict/batch"]["post"]["requestBody"]
        assert form["content"]["multipart/form-data"]["schema"]["properties"]["images"]["maxItems"] == 5
        assert ask(server, np.stack([square("bird")] * 5)).json() == {"labels": ["bird"] * 5}
        if "rate_burst" not in settings:  # whose bucket is empty now
            assert ask(server, np.stack([square("bird")] * 6)).status_code == 413


def test_keys_are_asked_for(bundle: Path) -> None:
    key, line = make_key("ann")
    (bundle / "keys").write_text(f"# keys\n\n{line}\n")
    settings = {"api_keys_file": bundle / "keys", "rate_limit_per_s": 0.001, "rate_burst": 5}
    with live_server(bundle, bundle, FACTORY, **settings) as server:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {key}"}):
            answer = ask(server, headers={**NPY, **headers})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
            assert ask(server, headers={**NPY, **headers}).status_code == 200
        batch = np.stack([square("bird")] * 4)
        answer = ask(server, batch, headers={**NPY, "x-api-key": key})
        assert (answer.status_code, answer.json()["type"]) == (429, "urn:trades-bob:rate-limited")
        assert int(answer.headers["retry-after"]) == answer.json()["retry_after_s"] >= 500
        assert key not in server.log
        for path in ("/livez", "/readyz", "/metrics", "/info"):
            assert httpx.get(server.url + path).status_code == 200


def test_startup_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{}")
    with live_server(tmp_path, tmp_path, ready=False) as server:
        assert server.process.wait(timeout=60) == 2
        last = server.log.strip().splitlines()[-1]
        assert last.startswith("trades-bob: ")
        assert "abstain_below" in last
        assert "Traceback" not in server.log


def npy_head(path: str, length: int) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/x-npy", f"Content-Length: {length}", "", "")
    return "\r\n".join(lines).encode()


def exchange(server: LiveServer, sent: bytes) -> bytes:
    """Send bytes and read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        received = b""
        try:
            connection.sendall(sent)
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return received
