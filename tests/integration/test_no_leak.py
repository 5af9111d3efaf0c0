"""Nothing but labels leaves the service: pictures of one label and any score get answers that are alike."""

import itertools
import re
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.labels import LABELS
from model.metadata import BundleMetadata
from server.worker import SECONDS, _answer, _hello
from tests.fake_runtime import SIZE, FakeRuntime, open_runtime
from tests.live_server import NPY, LiveServer, live_server, npy, wait_for

pytestmark = pytest.mark.integration
MAY_DIFFER = {"date", "x-request-id", "pixels-sha256"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("leak")
    (folder / "bundle.json").write_text("a" * 64)
    with live_server(folder, folder, "tests.fake_runtime:open_runtime") as live:
        yield live


def answer(server: LiveServer, colours: list[tuple[int, int]]) -> tuple[object, dict[str, str], list[str]]:
    """Body, headers and log fields of a batch whose pictures have these logits (red: bird, blue: bicycle)."""
    squares = np.zeros((len(colours), SIZE, SIZE, 3), np.uint8)
    squares[..., ::2] = np.array(colours, np.uint8)[:, None, None, :]
    response = httpx.post(f"{server.url}/predict/batch", content=npy(squares), headers=NPY)
    headers = {name: value for name, value in response.headers.items() if name not in MAY_DIFFER}
    mark = f'"request_id": "{response.headers["x-request-id"]}"'
    wait_for(lambda: mark in server.log)  # counted and logged once the answer is out
    (line,) = [line for line in server.log.splitlines() if mark in line]
    return response.json(), headers, re.findall(r'"(\w+)": ', line)


def counters(server: LiveServer) -> dict[str, float]:
    """All metrics but times: their sums and their buckets depend on the clock."""
    text = httpx.get(f"{server.url}/metrics").text
    pairs = re.findall(r"^(trades_bob\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in pairs if not re.search("_seconds|_created", name)}


@settings(max_examples=30, deadline=None)
@given(data=st.data(), wins=st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=12))
def test_equal_labels_get_equal_answers(server: LiveServer, data: st.DataObject, wins: list[int]) -> None:
    def logits(win: int) -> tuple[int, int]:
        low, high = sorted(data.draw(st.lists(st.integers(0, 255), min_size=2, max_size=2, unique=True)))
        return {1: (high, low), 0: (low, low), -1: (low, high)}[win]

    seen = []
    for _ in range(2):
        before = counters(server)
        told = answer(server, [logits(win) for win in wins])
        seen.append((told, {k: v - before.get(k, 0) for k, v in counters(server).items() if v != before.get(k, 0)}))
    (one, counts_one), (other, counts_other) = seen
    assert one == other
    assert set(one[0]) == {"labels"}
    batches = {name for name in counts_one if "batch_size" in name}
    assert {k: v for k, v in counts_one.items() if k not in batches} == {
        k: v for k, v in counts_other.items() if k not in batches
    }


def test_metrics_have_no_dimension_for_a_picture(server: LiveServer) -> None:
    answer(server, [(200, 1)])
    text = httpx.get(f"{server.url}/metrics").text
    assert set(re.findall(r"(\w+)=\"", text)) <= {"route", "status", "reason", "label", "le"}
    assert set(re.findall(r'label="(\w+)"', text)) <= set(LABELS)


class _Pipe:
    def __init__(self, message: bytes) -> None:
        self.message = message

    def receive(self) -> bytes:
        return self.message

    def send(self, sent: bytes) -> None:
        self.sent = sent


def test_the_worker_sends_a_byte_a_picture(server: LiveServer) -> None:
    runtime: FakeRuntime = open_runtime(server.log_file.parent)
    slots = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    pipe = _Pipe(np.array([5, 1, 1, 7], np.uint32).tobytes())
    _answer(pipe, runtime, slots)  # type: ignore[arg-type]
    labels = pipe.sent[SECONDS.size :]
    assert [LABELS[label] for label in labels] == runtime.decide(runtime.logits(slots[[5, 1, 1, 7]]))
    assert set(_hello(_Described())) == {
        "input_size",
        "classes",
        "weights_sha256",
        "runtime",
        "device",
        "batch_sizes",
        "bundle_digest",  # for the log; /info has the hash of the weights alone
    }


@settings(max_examples=50, deadline=None)
# Blue stays below the colours that make the fake runtime crash or hang.
@given(scores=st.lists(st.tuples(st.integers(0, 253), st.integers(1, 255)), min_size=2, max_size=8))
def test_times_tell_of_the_clock_alone(server: LiveServer, scores: list[tuple[int, int]]) -> None:
    """All that the metrics' times are made of: under a clock that ticks once a look, any scores send the same bytes."""
    runtime, sent = open_runtime(server.log_file.parent), []
    for margins in (scores, [(0, 255)] * len(scores)):
        slots = np.zeros((len(scores), SIZE, SIZE, 3), np.uint8)
        slots[:, 0, 0, 0] = [min(low + margin, 255) for low, margin in margins]
        slots[:, 0, 0, 2] = [low for low, _ in margins]
        pipe = _Pipe(np.arange(len(scores), dtype=np.uint32).tobytes())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("server.worker.time.perf_counter", itertools.count().__next__)
            _answer(pipe, runtime, slots)  # type: ignore[arg-type]
        sent.append(pipe.sent)
    assert sent[0] == sent[1] == SECONDS.pack(1) + bytes([LABELS.index("bird")] * len(scores))


class _Described(FakeRuntime):
    """A runtime that could tell of its threshold."""

    def __init__(self) -> None:
        self.metadata = BundleMetadata(abstain_below=0.123)
