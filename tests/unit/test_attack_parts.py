"""The parts of an attack: pace, starts, subspace, belief, journal, charts, and the pooling of probes."""

import errno
import fcntl
import json
import math
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from attack.charts import charts
from attack.decision.posterior import NormalPosterior
from attack.decision.problem import Problem, probes_about, to_lattice
from attack.decision.subspace import coordinates, low_frequency
from attack.evaluation.folder import held
from attack.journal import Journal
from attack.results import record
from attack.scheduler import Scheduler
from attack.track import Outcome, Plan, Track
from attack.wire.adapters import one_hot
from attack.wire.pace import Pace
from model.errors import ConfigError, RefusedError
from model.labels import CLASSES

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("side", "frequencies"), [(8, 3), (8, 8), (5, 9)])
def test_expand_and_reduce_are_adjoint_and_orthonormal(side, frequencies):
    space = low_frequency(side, frequencies)
    rng = np.random.default_rng(0)
    coefficients = rng.standard_normal((4, space.dim), dtype=np.float32)
    pictures = rng.standard_normal((4, 3 * side * side), dtype=np.float32)
    assert np.allclose(space.reduce(space.expand(coefficients)), coefficients, atol=1e-5)
    left = (space.expand(coefficients) * pictures).sum()
    assert np.isclose(left, (coefficients * space.reduce(pictures)).sum(), rtol=1e-4)


def test_low_frequencies_are_smooth_and_of_one_channel():
    space = low_frequency(8, 2)
    constant = np.zeros((1, 12), np.float32)
    constant[0, 1] = 1
    picture = space.expand(constant).reshape(8, 8, 3)
    assert np.allclose(picture[..., 1], picture[0, 0, 1])
    assert not picture[..., [0, 2]].any()


def test_coordinates_prefer_low_frequencies_and_brightness():
    space = coordinates(16, 60, 4.0, 1.0)
    assert len(space.prior) == 60
    assert space.prior.max() == space.prior[0] == 1
    coefficients = np.random.default_rng(0).standard_normal((3, 60), dtype=np.float32)
    pictures = space.expand(coefficients)
    assert np.allclose(np.linalg.norm(pictures, axis=1), np.linalg.norm(coefficients, axis=1), rtol=0.05)
    middle, edge = (pictures.reshape(3, 16, 16, 3)[:, rows] for rows in (slice(6, 10), slice(0, 2)))
    assert (middle**2).mean() > (edge**2).mean()


def test_probes_about_a_point_are_the_nearest_pictures():
    rng = np.random.default_rng(0)
    point = rng.uniform(0, 255, 50).astype(np.float32)
    directions = rng.standard_normal((6, 50), dtype=np.float32)
    expected = to_lattice(point + np.float32(30) * directions)
    assert (np.abs(probes_about(point, 30.0, directions, np.asarray).astype(int) - expected) <= 0).mean() > 0.99


def test_the_belief_finds_a_normal_with_fewer_answers_than_their_mean():
    """60 dimensions, 240 noiseless answers: at least cosine 0.9, which averaging does not reach."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(60).astype(np.float32)
    truth /= np.linalg.norm(truth)
    belief = NormalPosterior(np.ones(60, np.float32))
    mean = np.zeros(60)
    for _ in range(12):
        directions = belief.draw(rng, 20)
        assert np.allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
        belief.update(directions, directions @ truth > 0)
        plain = rng.standard_normal((20, 60))
        mean += np.sign(plain @ truth) @ plain
    assert belief.normal() @ truth > 0.9
    assert belief.normal() @ truth > mean @ truth / np.linalg.norm(mean) + 0.03


def test_a_block_of_answers_is_taken_one_after_the_other():
    """As assumed density filtering on the whole covariance does it, with the block's noise."""
    rng = np.random.default_rng(2)
    belief = NormalPosterior(rng.uniform(0.5, 1.5, 12).astype(np.float32))
    belief.guess(rng.standard_normal(12).astype(np.float32), 0.4)
    directions, hits = belief.draw(rng, 9), rng.random(9) < 0.5
    mean, covariance = belief.mean.astype(float), belief.covariance.astype(float)
    rows = np.column_stack([directions, np.ones(9)])
    noise = 0.01**2 + 1e-3 * np.trace(rows @ covariance @ rows.T) / 9
    for row, sign in zip(rows, np.where(hits, 1, -1), strict=True):
        column, width = covariance @ row, math.sqrt(row @ covariance @ row + noise)
        z = sign * (row @ mean) / width
        ratio = math.sqrt(2 / math.pi) * math.exp(-z * z / 2) / math.erfc(-z / math.sqrt(2))
        mean += sign * ratio / width * column
        covariance -= ratio * (ratio + z) / width**2 * np.outer(column, column)
    belief.update(directions, hits)
    assert np.allclose(belief.mean, mean, atol=1e-6)
    assert np.allclose(belief.covariance, covariance, atol=1e-7)


def test_the_belief_sees_a_point_that_is_off_the_boundary():
    rng = np.random.default_rng(1)
    belief = NormalPosterior(np.ones(20, np.float32), offset=0.5)
    for _ in range(5):
        directions = belief.draw(rng, 20)
        belief.update(directions, np.ones(20, bool))
    assert belief.mean[-1] > 0.1
    belief.move(0.1)
    assert belief.mean[-1] == 0


def test_pace_grows_by_one_and_halves():
    pace = Pace(slots=2, max_slots=4)
    for _ in range(20):
        pace.succeeded()
    assert pace.slots == 4
    pace.failed(busy=False)
    assert pace.slots == 4
    pace.failed(busy=True)
    pace.failed(busy=True)  # the same trouble, heard of twice
    assert (pace.slots, pace.retries, pace.busy) == (2, 3, 2)


def test_the_longest_pause_holds():
    pace = Pace()
    assert pace.pause_s == 0
    pace.failed(busy=True, pause_s=60)
    pace.failed(busy=True, pause_s=1)
    pace.succeeded()
    assert 59 < pace.pause_s <= 60


def test_one_hot_is_of_the_nearest_pictures_on_the_lattice():
    class Fake:
        info = None

        def predict_batch(self, pixels):
            assert pixels.dtype == np.uint8
            assert pixels.shape == (2, 4, 4, 3)
            assert pixels[0, 0, 0].tolist() == [255, 0, 128]
            return ["abstain", "bird"]

    x = np.tile(np.array([1.0, -0.1, 0.5])[None, :, None, None], (2, 1, 4, 4))
    assert one_hot(Fake(), x).tolist() == [[0, 0, 1], [0, 1, 0]]


def test_a_journal_is_of_one_run_at_a_time(tmp_path):
    with Journal(tmp_path, {"a": 1}, resume=False), pytest.raises(ConfigError, match="another run"):
        Journal(tmp_path, {"a": 1}, resume=True)


def test_a_journal_that_is_no_file_to_write_to_is_named(tmp_path):
    os.mkfifo(tmp_path / "journal.jsonl")
    with pytest.raises(OSError, match=r"Invalid argument: '.*journal\.jsonl'"):
        Journal(tmp_path, {"a": 1}, resume=False)


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with Journal(tmp_path, {"a": 1}, resume=False) as journal:
        journal.finished({"image": "bird/0.png"})
    with Journal(tmp_path, {"a": 1}, resume=True) as journal, held(tmp_path):
        assert list(journal.done) == ["bird/0.png"]


def test_a_replaced_journal_is_told_in_one_line(tmp_path, capfd):
    for resume, lines in ((False, 0), (True, 0), (False, 1)):
        Journal(tmp_path, {"a": 1}, resume=resume).__exit__(None, None, None)
        told = capfd.readouterr().err
        assert told.count("\n") == lines
        assert told.count("is replaced") == lines


def _flipped(whole: bytes, line: int) -> bytes:
    lines = whole.splitlines(keepends=True)
    lines[line] = lines[line][:-3] + b"?" + lines[line][-2:]
    return b"".join(lines)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda whole: _flipped(whole, 0), "line 1 is none of a journal"),
        (lambda whole: _flipped(whole, 1), "line 2 is damaged"),
        (lambda whole: _flipped(whole, 2), "line 3 is damaged"),
        (lambda _: b'{"my": "own notes"}\n' * 3, "line 1 is none"),
        (lambda _: b"notes without an end of line", "line 1 is none"),
    ],
)
def test_what_is_no_journal_is_named_and_left_as_it_is(spoil, words, tmp_path):
    with Journal(tmp_path, {"seed": 0}, resume=False) as journal:
        journal.answered("bird/0.png", 1, ["bird"])
        journal.answered("bird/0.png", 2, ["bird"])
    journal.path.write_bytes(spoilt := spoil(journal.path.read_bytes()))
    with pytest.raises(ConfigError, match=f"{journal.path}: {words}.*; restore it, or leave out --resume"):
        Journal(tmp_path, {"seed": 0}, resume=True)
    assert journal.path.read_bytes() == spoilt


def test_a_line_that_a_kill_cut_short_is_cut_off(tmp_path, capfd):
    with Journal(tmp_path, {"seed": 0}, resume=False) as journal:
        journal.answered("bird/0.png", 1, ["bird"])
    whole = journal.path.read_bytes()
    first = whole.index(b"\n") + 1
    for kept in range(1, len(whole)):
        journal.path.write_bytes(whole[:kept])
        with Journal(tmp_path, {"seed": 0}, resume=True) as journal:
            assert not journal.answers
            assert journal.path.read_bytes() == whole[:first]
        said = f"{journal.path}: no journal to go on with; the attack begins anew\n"
        assert capfd.readouterr().err == (said if kept < first else "")


def test_a_journal_that_the_disk_takes_in_parts_is_whole_and_a_full_disk_is_named(tmp_path, monkeypatch):
    with Journal(tmp_path, {"run": 1}, resume=False) as journal:
        parts = _Sparing(journal._file)
        monkeypatch.setattr(journal, "_file", parts)
        journal.answered("a.png", 5, ["bird", "abstain"])
        parts.room = 3
        with pytest.raises(OSError, match=re.escape(str(journal.path))):
            journal.answered("a.png", 6, ["bird"])
    with Journal(tmp_path, {"run": 1}, resume=True) as journal:
        assert journal.answers["a.png"] == [(5, ["bird", "abstain"])]


class _Sparing:
    """A file that takes at most seven bytes at once, and as many in all as it has room for."""

    def __init__(self, file) -> None:
        self.file, self.room = file, 10**6

    def write(self, content: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.file.write(content[: min(7, self.room)])
        self.room -= taken
        return taken

    def close(self) -> None:
        self.file.close()


def test_a_journal_gives_back_what_it_took(tmp_path):
    with Journal(tmp_path, {"a": 1}, resume=False) as journal:
        journal.answered("bird/1.png", 7, ["bird", "abstain"])
        journal.answered("bird/2.png", 8, ["bicycle"])
        journal.finished({"image": "bird/2.png", "l2": 0.1})
    with Journal(tmp_path, {"a": 1}, resume=True) as journal:
        assert dict(journal.answers) == {"bird/1.png": [(7, ["bird", "abstain"])]}
        assert journal.done == {"bird/2.png": {"image": "bird/2.png", "l2": 0.1}}
    with Journal(tmp_path, {"a": 1}, resume=False) as journal:
        assert not journal.done
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 1


SIDE = 4


class Endless:
    """An oracle that notes its batches; every picture is a bicycle."""

    input_size, max_batch, slots, max_slots, identity = SIDE, 8, 2, 2, None

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.lock = threading.Lock()

    def labels(self, pixels):
        with self.lock:
            self.batches.append(len(pixels))
        return [CLASSES[0]] * len(pixels)

    def label_of_png(self, png):
        raise AssertionError(f"no adversarial to post, but {len(png)} bytes")


def _track(number: int, attack, budget: int = 50) -> Track:
    original = np.full(3 * SIDE * SIDE, number, np.float32)
    clean = original.astype(np.uint8).reshape(SIDE, SIDE, 3)
    problem = Problem(original, SIDE, np.random.default_rng(number), lambda: iter([]), budget)
    return Track(Outcome(f"bicycle/{number}.png", CLASSES[0]), Plan(clean, None, None, attack, problem, False))


def test_an_attack_that_asks_nothing_new_any_more_ends():
    """Probes that round to known pictures spend no budget, and every other photo would wait for it."""

    def standing(problem):
        while True:
            yield problem.original[None]

    track = _track(0, standing)
    while not track.done:
        track.answer([CLASSES[0]] * len(track.pending))
    assert track.outcome.queries <= 2


def _four_at_a_time(problem):
    for step in range(100):
        yield np.repeat(np.arange(4, dtype=np.uint8)[:, None] + 100 + 4 * step % 40, problem.dim, axis=1)


def test_probes_of_many_photos_fill_requests_and_equal_ones_are_asked_once():
    oracle = Endless()
    done = list(Scheduler(oracle).run(iter([_track(n, _four_at_a_time) for n in range(8)])))
    assert [track.outcome.queries for track in done] == [41] * 8  # 40 different pictures and the clean one
    assert sum(oracle.batches) == 8 * 41
    assert max(oracle.batches) == 8


def test_a_budget_is_kept_to_the_picture():
    oracle = Endless()
    (track,) = Scheduler(oracle).run(iter([_track(0, _four_at_a_time, budget=10)]))
    assert track.outcome.queries == sum(oracle.batches) == 10
    assert track.outcome.status == "robust"


def test_few_photos_are_active_at_once():
    begun: list[int] = []

    def tracks():
        for number in range(30):
            begun.append(number)
            yield _track(number, _four_at_a_time)

    for done in Scheduler(Endless(), max_active=3).run(tracks()):
        assert done.done
        assert len(begun) - 3 <= int(done.outcome.name.split("/")[1][:-4]) + 3


class Picky(Endless):
    """Takes no request that holds a picture of one of these levels."""

    def __init__(self, *levels: int) -> None:
        super().__init__()
        self.levels = levels

    def labels(self, pixels):
        if np.isin(pixels, self.levels).any():
            raise RefusedError("status 422")
        return super().labels(pixels)


@pytest.mark.parametrize("max_batch", [2, 8, 64])
def test_a_refused_picture_fails_its_own_photo_only(max_batch):
    oracle = Picky(1, 5)
    oracle.max_batch = max_batch
    done = {track.outcome.name: track.outcome for track in Scheduler(oracle).run(_many(8))}
    failed = {name for name, outcome in done.items() if outcome.status == "failed"}
    assert failed == {"bicycle/1.png", "bicycle/5.png"}
    assert {done[name].reason for name in failed} == {"status 422"}
    assert [done[name].queries for name in sorted(set(done) - failed)] == [41] * 6


class Stuttering(Endless):
    """Has no label for the third picture of its first request, and tells the others'."""

    def labels(self, pixels):
        labels = super().labels(pixels)
        if len(self.batches) == 1:
            refused = RefusedError("answered 'none'")
            refused.answered = [*labels[:2], None, *labels[3:]]
            raise refused
        return labels


def test_pictures_that_got_a_label_in_a_spoilt_answer_are_not_asked_again():
    oracle = Stuttering()
    done = list(Scheduler(oracle).run(_many(8)))
    assert [(track.outcome.status, track.outcome.queries) for track in done] == [("robust", 41)] * 8
    assert sum(oracle.batches) == 8 * 41 + 1


@pytest.mark.parametrize("max_batch", [3, 8])
def test_a_refusal_amid_an_attack_ends_it_and_what_was_under_way_for_it(max_batch):
    oracle = Picky(107)  # the last picture of a photo's second chunk
    oracle.max_batch = max_batch
    outcomes = [track.outcome for track in Scheduler(oracle).run(_many(3))]
    assert [(outcome.status, outcome.queries) for outcome in outcomes] == [("failed", 5)] * 3


def test_an_endpoint_that_refuses_every_photo_is_an_error():
    with pytest.raises(RefusedError, match="422"):
        list(Scheduler(Picky(*range(8))).run(_many(8)))


def _many(count: int):
    return iter([_track(number, _four_at_a_time) for number in range(count)])


def test_charts_are_of_the_numbers(tmp_path: Path):
    images = [
        {"curve": [[1, 8.0], [10, 4.0], [50, 1.0]], "status": "adversarial"},
        {"curve": [[2, 9.0]], "status": "robust"},
        {"curve": [], "status": "misclassified"},
    ]
    distance, survival = charts(json.loads(json.dumps(images)), 2.0, 100)
    assert "<polygon" in distance
    assert "stroke-dasharray" in distance
    assert survival.count("<polyline") == 1
    last = survival.split('points="')[1].split('"')[0].split()[-1].split(",")[1]
    half = (14 + 320 - 44) / 2
    assert abs(float(last) - half) < 1  # one of two photos stands at the end
    assert charts([], 2.0, 100) == []


@pytest.mark.parametrize(
    ("status", "l2", "best_l2", "curve"),
    [
        ("adversarial", 4.00001, 4.00001, [[1, 8.0], [10, 4.0]]),  # the two that were nearer were taken back
        ("robust", 1.0, 1.0, [[1, 8.0], [10, 4.0], [50, 3.0], [60, 1.0]]),
        ("failed", 1.0, None, []),
        ("misclassified", None, None, []),
    ],
)
def test_what_was_taken_back_is_no_distance(status, l2, best_l2, curve):
    outcome = Outcome("bird/1.png", "bird", status, l2=l2)
    outcome.curve = [(1, 8.0), (10, 4.0), (50, 3.0), (60, 1.0)] if l2 else []
    entry = record(outcome, {})
    assert (entry["best_l2"], entry["curve"]) == (best_l2, curve)


def test_without_a_limit_any_wrong_answer_counts_and_no_distance_is_shown():
    images = [{"curve": [[10, 90.0], [50, 80.0]], "status": "adversarial"}, {"curve": [], "status": "robust"}]
    (survival,) = charts(images, None, 100)
    assert "with no wrong answer" in survival
    points = [tuple(map(float, point.split(","))) for point in survival.split('points="')[1].split('"')[0].split()]
    half = (14 + 320 - 44) / 2
    assert {round(y, 1) for x, y in points if x > 300} == {half}  # 10 queries are half of the way to 100
    assert {y for x, y in points if x < 300} == {14.0}
