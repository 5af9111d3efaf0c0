"""The rows, the report and the command, on linear models whose right answer can be worked out beside them."""

import json
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attack.evaluation import protocol, variants, walks
from attack.evaluation.folder import held
from attack.evaluation.page import command_of, read_report
from attack.evaluation.rehearsal import Rehearsal, rehearsed
from attack.evaluation.report import (
    EvaluationSettings,
    Scored,
    changed_inputs,
    photos_digest,
    same_table,
    scores,
    worst_of_all,
)
from attack.evaluation.run import Speed, all_photos, duration, evaluate, expected_s
from attack.evaluation.searches import mapped, random_maps, run_search, run_spsa
from attack.evaluation.session import Gallery, Result, Session, Shot
from attack.evaluation.subject import (
    VOTES,
    BundleSubject,
    CallableSubject,
    EndpointSubject,
    Subject,
    find_callable,
    read_votes,
)
from attack.gradient.apgd import APGD
from attack.gradient.objective import objective, split
from attack.gradient.pgd import PGD, pgd
from attack.gradient.spsa import SPSA
from attack.gradient.square import Square
from attack.starts import Starts
from attack.track import Outcome
from attack.transforms.corruptions import corrupt
from attack.transforms.grid import DOCUMENTED, KIT, Grid, bordered, moved
from attack.transforms.pixels import brought_to, to_pixels, to_tensor
from attack.transforms.spatial import SpatialRange
from attack.wire.messages import Info
from benchmarks.evaluate import finished
from model.answers import answers
from model.architecture import Architecture, PixelClassifier
from model.bundle import BundleMetadata, load_bundle, save_bundle
from model.errors import ConfigError, DataError, RefusedError
from model.folding import fold_batch_norms
from model.labels import ABSTAIN, CLASSES
from model.photos import Photo
from model.pixels import load_square
from tests.pictures import no_regular_files
from trades_bob import app

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
SIDE = 32

DEFENCE = """
import numpy as np
def logits(x):
    assert x.dtype == np.float32 and x.shape[1:] == (32, 32, 3) and x.flags["C_CONTIGUOUS"]
    blue, red = x[..., 2].mean((1, 2)), x[..., 0].mean((1, 2))
    return np.stack([8 * blue, 8 * red], axis=1)
def wrong_shape(x):
    return np.zeros((len(x), 3), np.float32)
number = 3
"""


class Linear(Subject):
    """Bicycles are blue, birds are red: logits are weighted means of the channels."""

    kind = "callable"
    reference = "linear"

    def __init__(self, batch=8, gain=8.0):
        super().__init__(SIDE)
        self.batch, self.gain = batch, gain
        self.asked = []
        self.differentiable = self.forward

    def forward(self, x):
        means = x.mean(dim=(2, 3))
        return self.gain * torch.stack([means[:, 2], means[:, 0]], dim=1)

    def _answer(self, x):
        self.asked.append(len(x))
        return self.forward(x)


@pytest.fixture(autouse=True)
def _short_measurement(monkeypatch):
    monkeypatch.setattr("attack.evaluation.run.MEASURE_S", 0.02)


@pytest.fixture
def photos(tiny_photos):
    return all_photos(tiny_photos / "val", seed=0)


@pytest.fixture
def session():
    return Session(Linear(), seed=0)


@pytest.fixture
def defence(tmp_path, monkeypatch):
    (tmp_path / "my_defence.py").write_text(DEFENCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_defence:logits"
    sys.modules.pop("my_defence", None)


def silent(done, **figures):
    pass


def labels_of(photos):
    return torch.tensor([photo.label for photo in photos])


def test_photos_alternate_so_that_any_prefix_is_balanced(photos):
    assert [photo.label for photo in photos[:6]] == [0, 1, 0, 1, 0, 1]
    assert len(photos) == 16


def test_a_photos_seed_depends_on_photo_purpose_and_seed_alone(session, photos):
    seeds = {session.seed_of(photo, purpose) for photo in photos for purpose in ("map", "spsa")}
    assert len(seeds) == 32
    assert Session(Linear(batch=3), 0).seed_of(photos[0], "map") == session.seed_of(photos[0], "map")
    assert Session(Linear(), 1).seed_of(photos[0], "map") != session.seed_of(photos[0], "map")


def test_questions_go_out_in_full_batches(session):
    pictures = torch.rand(20, 3, SIDE, SIDE)
    answers = session.ask_in_full_batches(pictures.split([3, 3, 3, 3, 3, 3, 2]))
    torch.testing.assert_close(answers, session.subject.forward(pictures))
    assert session.subject.queries == 20
    assert max(session.subject.asked) <= 8


def test_clean_logits(session, photos):
    result = variants.clean(session, photos, silent)
    x = torch.cat([session.tensor(chunk) for chunk in session.chunks(photos)])
    np.testing.assert_allclose(result.logits, session.subject.forward(x).numpy())
    assert session.subject.queries == 16  # once, not once more for the pictures shown
    assert (result.logits.argmax(axis=1) == labels_of(photos).numpy()).all()
    assert result.shots == []


def test_corruptions_keep_the_largest_wrong_logit(session, photos):
    some, chosen = photos[:2], variants.KIT_VARIANTS[::5]
    result = variants.corruptions(session, some, silent, chosen)
    assert session.subject.queries == 4 * 2
    for photo, kept in zip(some, result.logits, strict=True):
        chunk = next(session.chunks([photo], size=224))
        wrong_logits = []
        for one in chosen:
            seed = session.seed_of(photo, f"corruption {one}")
            corrupted = corrupt(to_tensor(chunk.pixels), one.name, one.severity, [seed])
            small = brought_to(corrupted, SIDE)
            wrong_logits.append(float(session.subject.forward(small)[0, 1 - photo.label]))
        assert kept[1 - photo.label] == pytest.approx(max(wrong_logits), abs=1e-5)
    assert [(one["corruption"], one["severity"], one["n"]) for one in result.detail["matrix"]] == [
        (one.name, 1, 2) for one in chosen
    ]


def test_the_rows_of_corruptions():
    assert len(variants.KIT_VARIANTS) == 17
    assert {one.severity for one in variants.KIT_VARIANTS} == {1}
    assert len(set(variants.ALL_VARIANTS)) == 95


def test_a_map_whose_answers_are_not_finite_has_no_mean_margin(photos, monkeypatch):
    session = Session(Linear(batch=5), seed=0)
    broken = torch.tensor([[9.0, -torch.inf]])  # of a bicycle the right class
    monkeypatch.setattr(session.subject, "logits", lambda x: broken.expand(len(x), 2))
    result = variants.spatial(session, photos[:2], silent, Grid((0.0,), (0.0,), (0.0, 9.0)))
    heat = result.detail["grid"]
    assert (heat["mean_margin"], heat["wrong"]) == ([None, None], [2, 2])


def test_the_grid_keeps_the_largest_margin(photos):
    session = Session(Linear(batch=5), seed=0)
    grid = Grid((0.0, 20.0), (-18.0, 0.0), (-30.0, 10.0, 30.0))
    some = photos[:7]
    result = variants.spatial(session, some, silent, grid)
    heat = result.detail["grid"]
    wrong = np.zeros(12, int)
    for photo, kept in zip(some, result.logits, strict=True):
        (pixels,) = next(session.chunks([photo])).pixels
        x = to_tensor(np.stack([bordered(pixels)] * 12))
        logits = session.subject.forward(moved(x, grid.maps))
        margins = objective(logits, torch.full((12,), photo.label))
        torch.testing.assert_close(torch.from_numpy(kept), logits[int(margins.argmax())])
        wrong += (margins > 0).numpy()
    assert heat["wrong"] == wrong.tolist()
    assert heat["n"] == 7
    assert session.subject.queries == 7 * 12
    assert session.subject.asked == [5] * 12 + [5, 5, 5, 5, 4]  # full batches but for the end


def test_the_grid_of_a_blind_spot_is_found():
    """A model that errs only where the lower left is black: the map that moves the photo there is the worst."""

    class Corner(Linear):
        def forward(self, x):
            corner = x[:, :, -10:-6, 8:12].mean(dim=(1, 2, 3))
            return torch.stack([1 + 0 * corner, 2 * (corner < 0.02).float()], dim=1)

    x = np.full((1, SIDE, SIDE, 3), 200, np.uint8)
    maps = KIT.maps
    logits = Corner().forward(moved(to_tensor(np.stack([bordered(x[0])])).expand(len(maps), -1, -1, -1), maps))
    errs = [one for one, row in zip(maps, logits, strict=True) if row[1] > row[0]]
    assert 0 < len(errs) < len(maps)
    assert any(dy < 0 for _, _, dy in errs)


def test_maps_are_drawn_within_the_warm_ups_span(session, photos):
    maps = random_maps(session, photos * 10)
    span = SpatialRange()
    assert bool((maps.abs() <= torch.tensor([span.angle_degrees, span.shift, span.shift])).all())
    assert torch.equal(random_maps(session, photos[3:4]), random_maps(session, photos)[3:4])
    assert len({tuple(row) for row in random_maps(session, photos).tolist()}) == len(photos)


def test_spsa_lowers_the_margin_within_the_ball(photos):
    session = Session(Linear(batch=200), seed=0)
    some = photos[:3]
    result = run_spsa(session, some, silent, SPSA(steps=20))
    before = torch.cat([session.subject.forward(mapped(session, chunk)) for chunk in session.chunks(some)])
    gain = objective(torch.from_numpy(result.logits), labels_of(some)) - objective(before, labels_of(some))
    # The margin is 8 (red - blue) on average: the whole ball is worth 16 x 16/255 where nothing is cut off by [0, 1].
    assert bool((gain > 0.2).all())  # a random start alone is worth 0 on average
    assert bool((gain <= 16 * 16 / 255).all())
    assert session.subject.queries == 3 * (20 * 65 + 1)


def test_spsa_of_a_photo_does_not_depend_on_the_others(photos):
    together = run_spsa(Session(Linear(batch=300), 0), photos[:4], silent, SPSA(steps=5))
    alone = run_spsa(Session(Linear(batch=64), 0), photos[2:3], silent, SPSA(steps=5))
    np.testing.assert_allclose(together.logits[2:3], alone.logits, rtol=1e-5)


def test_a_search_runs_chunk_by_chunk(photos):
    session = Session(Linear(batch=3), seed=0)
    result = run_search(session, photos[:4], silent, "pgd", lambda *a: pgd(session.subject.forward, *a, PGD(steps=8)))
    for start, chunk in enumerate(session.chunks(photos[:4], most=1)):
        seeds = [session.seed_of(photos[start], "pgd")]
        found = pgd(session.subject.forward, mapped(session, chunk), chunk.y, seeds, PGD(steps=8))
        np.testing.assert_allclose(result.logits[start], session.subject.forward(found.x)[0].numpy(), rtol=1e-5)


def test_the_walk_ends_within_the_limit_or_on_the_ball(photos):
    session = Session(Linear(batch=16), seed=0)
    result = walks.run_walk(session, photos[:4], silent, photos, walks.Walk("boundary", 400, kit=True))
    limit = walks.max_l2(SIDE)
    assert limit == pytest.approx(10 * 32 / 224)
    by_name = {record["photo"]: record for record in result.detail["walks"]}
    for photo, logits in zip(photos[:4], result.logits, strict=True):
        record = by_name[photo.name]
        margin = float(objective(torch.from_numpy(logits)[None], torch.tensor([photo.label])))
        assert record["queries"] <= 400
        assert (margin >= 0) == (record["l2"] <= limit)
    assert [record["photo"] for record in result.detail["walks"]] == [photo.name for photo in photos[:4]]
    for shot in result.detail["at_the_limit"]:
        offset = (shot.after.astype(float) - shot.before) / 255
        assert np.sqrt((offset**2).sum()) == pytest.approx(limit, rel=0.03)


def test_a_walk_stops_as_soon_as_it_is_near_enough(photos):
    easy = Session(Linear(batch=16, gain=1e-3), seed=0)
    result = walks.run_walk(easy, photos[:2], silent, photos, walks.Walk("boundary", 1500, kit=True))
    near = [record for record in result.detail["walks"] if record["l2"] <= walks.max_l2(SIDE)]
    assert all(record["queries"] < 1500 for record in near)


def test_a_photo_whose_walk_is_refused_does_not_count_as_one_that_withstood(photos, monkeypatch):
    def refuse_the_second(oracle, pixels):
        asked.append(len(pixels))
        if len(asked) > 1:
            raise RefusedError("status 422")
        return answer(oracle, pixels)

    asked, answer = [], walks.SubjectOracle.labels
    monkeypatch.setattr(walks.SubjectOracle, "labels", refuse_the_second)
    with pytest.raises(RefusedError, match="422"):
        walks.run_walk(Session(Linear(batch=16), seed=0), photos[:1], silent, photos, walks.Walk("boundary", 400))


def test_attacks_start_from_the_photos_that_can_be_read(photos, tmp_path, capfd):
    bikes, birds = ([photo for photo in photos if photo.label == label][:2] for label in (0, 1))
    broken = birds[0]._replace(path=tmp_path / "bird" / "broken.png")
    starts = Starts([*bikes, *birds, broken], SIDE)
    for seed in (1, 2):
        found = {picture.tobytes() for picture in starts.against(0, seed)}
        assert found == {load_square(bird.path, SIDE).tobytes() for bird in birds}
    named = f"no attack starts from bird/broken.png: {broken.path}: No such file or directory\n"
    assert capfd.readouterr().err == named  # once


def test_the_digest_of_the_photos_opens_no_pipe(photos, tmp_path):
    (tmp_path / "bird").mkdir()
    irregular = [Photo(tmp_path / "bird" / name, 1) for name in no_regular_files(tmp_path / "bird")]
    assert photos_digest([*photos, *irregular]) != photos_digest(photos)


def test_a_row_of_walks_goes_on_without_the_starts_that_cannot_be_read(photos, tmp_path, capfd):
    bikes, birds = ([photo for photo in photos if photo.label == label][:2] for label in (0, 1))
    broken = birds[0]._replace(path=tmp_path / "bird" / "broken.png")
    walk, session = walks.Walk("auto", 60), Session(Linear(), seed=0)
    result = walks.run_walk(session, bikes, silent, [*bikes, birds[0], broken], walk)
    assert all(record["l2"] is not None for record in result.detail["walks"])
    assert capfd.readouterr().err.count("no attack starts from bird/broken.png") == 1
    with pytest.raises(DataError, match="no photo of the class bird can be read; walks start from one"):
        walks.run_walk(session, bikes, silent, [*bikes, broken], walk)


def test_the_kits_walk_ends_at_the_boundary_and_ours_as_sure_of_its_mistake_as_the_limit_allows(photos, monkeypatch):
    monkeypatch.setattr(walks, "max_l2", lambda _: 20.0)
    some, margins = photos[:4], {}
    ends = {"kit": {"kit": True}, "pushed": {}, "pushed early": {"enough": 0.9}}
    for name, end in ends.items():
        session = Session(Linear(batch=16), seed=0)
        result = walks.run_walk(session, some, silent, photos, walks.Walk("auto", 150, **end))
        margins[name] = objective(torch.from_numpy(result.logits), labels_of(some))
        assert all(record["l2"] < 20 for record in result.detail["walks"])
        assert all((record["queries"] < 100) == (name != "pushed") for record in result.detail["walks"])
        assert all(record["queries"] <= 150 for record in result.detail["walks"])
        assert session.subject.queries == sum(record["queries"] for record in result.detail["walks"]) + 8
    assert bool((margins["kit"] >= 0).all())
    assert bool((margins["pushed early"] > margins["kit"] + 0.5).all())
    assert bool((margins["pushed"] > margins["kit"] + 0.5).all())


class Mean:
    """Bird where the mean level lies within bounds."""

    def __init__(self, low, high):
        self.low, self.high = low, high

    def labels(self, pixels):
        return [CLASSES[int(self.low < picture.mean() < self.high)] for picture in pixels]


@pytest.mark.parametrize(
    ("limit", "bounds", "expected"),
    [
        (20, (109, 999), 120),  # all the way
        (20, (109, 119), 117),  # what lies beyond is right again: of three quarters, a half, a quarter the farthest
        (20, (109, 114), 112),
        (20, (109, 111), 110),  # what the walk found
        (6, (109, 999), 106),  # the boundary lies beyond the limit
        (6.9, (109, 999), 106),  # never farther, rounded or not
    ],
)
def test_what_a_walk_found_is_pushed_to_the_limit_as_far_as_it_stays_wrong(limit, bounds, expected):
    length = np.sqrt(3 * SIDE * SIDE) / 255
    original, found = np.full((2, SIDE, SIDE, 3), [[[[100]]], [[[110]]]], np.uint8)
    outcome = Outcome("bicycle/a.png", "bicycle", original=original, adversarial=found, l2=10 * length, queries=7)
    pushed = walks._pushed(Mean(*bounds), outcome, limit * length + 1e-6)
    assert (pushed == expected).all()
    assert outcome.queries == (11 if limit > 10 else 7)


def test_a_push_stops_at_white_where_it_must_and_goes_on_elsewhere():
    original, found = np.full((2, SIDE, SIDE, 3), 245, np.uint8)
    found[..., 0], found[..., 1] = 255, 235
    outcome = Outcome("bicycle/a.png", "bicycle", original=original, adversarial=found, l2=0.0)
    outcome.l2 = float(np.linalg.norm(found.astype(float) - original)) / 255
    pushed = walks._at_most(outcome, 1.5 * outcome.l2).astype(float)
    assert (pushed[..., 0] == 255).all()
    assert (pushed[..., 1] < 228).all()
    assert np.linalg.norm(pushed - original) / 255 <= 1.5 * outcome.l2


class Service:
    """Answers as a service of a subject would: labels, abstentions among them."""

    url, max_slots = "http://127.0.0.1:9", 1

    def __init__(self, subject):
        self.subject, self.pace, self.slots = subject, self, 1
        self.info, self.max_batch = Info(SIDE, subject.batch, {}), subject.batch

    def predict_batch(self, pixels):
        return answers(self.subject.logits(to_tensor(pixels)).numpy(), self.subject.abstain_below)


@pytest.mark.parametrize("abstains", [False, True])
def test_a_walk_in_process_is_the_walk_over_an_endpoint_that_never_abstains(photos, abstains):
    subject = Linear(batch=16)
    some, session = photos[:6], Session(subject, seed=0)
    start = torch.cat([subject.forward(mapped(session, chunk)) for chunk in session.chunks(some)])
    threshold = float(start.max(dim=1).values.median())
    walk = walks.Walk("auto", 120)
    subject.abstain_below = threshold  # plays no part in process
    here = walks.run_walk(session, some, silent, photos, walk)
    subject.abstain_below = threshold if abstains else -np.inf
    there = walks.run_walk(Session(EndpointSubject(Service(subject)), seed=0), some, silent, photos, walk)
    assert (here.detail["walks"] == there.detail["walks"]) == (not abstains)
    assert (ABSTAIN in answers(start.numpy(), subject.abstain_below)) == abstains
    assert all(record["queries"] > 1 for record in there.detail["walks"])  # an abstention may still be made a mistake


def test_a_subject_in_process_never_abstains_and_an_endpoint_as_it_does(photos):
    subject = Linear()
    subject.abstain_below = np.inf
    pixels = np.stack([load_square(photo.path, SIDE) for photo in photos[:4]])
    assert subject.labels(pixels) == [CLASSES[photo.label] for photo in photos[:4]]
    endpoint = EndpointSubject(Service(subject))
    assert endpoint.labels(pixels) == [ABSTAIN] * 4
    assert endpoint.logits(to_tensor(pixels)).tolist() == [[0, 0]] * 4
    assert endpoint.queries == 8  # each once, however it is asked


def test_walks_keep_to_what_the_endpoint_bears_at_the_moment():
    service = Service(Linear(batch=4))
    oracle = walks.SubjectOracle(EndpointSubject(service))
    assert (oracle.slots, oracle.max_batch) == (1, 4)
    service.slots, service.max_batch = 3, 2
    assert (oracle.slots, oracle.max_batch) == (3, 2)


def test_what_an_endpoint_says_of_itself_bounds_no_memory_of_ours():
    assert EndpointSubject(Service(Linear(batch=10**9))).batch < 10**4
    assert EndpointSubject(Service(Linear(batch=4))).batch == 4


def test_pictures_are_counted_from_many_threads(session):
    class Slow(int):
        def __radd__(self, other):
            time.sleep(0.002)
            return int(other) + int(self)

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(session.subject.count, [Slow(1)] * 40))
    assert session.subject.queries == 40


def test_votes_order_wrong_before_abstain_before_right():
    votes = torch.tensor([VOTES["bird"], VOTES["abstain"], VOTES["bicycle"]])
    assert objective(votes, torch.zeros(3, dtype=torch.long)).tolist() == [1, 0, -1]
    assert read_votes(votes.numpy()) == ["bird", "abstain", "bicycle"]


@pytest.mark.parametrize(("tiles", "precision", "tolerance"), [(False, "float32", 1e-5), (True, "bfloat16", 2e-2)])
def test_a_bundle_is_asked_as_it_stands(tmp_path, monkeypatch, tiles, precision, tolerance):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: tiles)
    torch.manual_seed(0)
    network = PixelClassifier(Architecture(backbone="resnet18"))
    network.train()(torch.rand(8, 3, SIDE, SIDE))  # running statistics of its own
    save_bundle(tmp_path, network, BundleMetadata(input_size=SIDE, abstain_below=0.5))
    x = torch.rand(5, 3, SIDE, SIDE)
    expected = load_bundle(tmp_path)(x).detach()
    subject = BundleSubject(tmp_path)
    torch.testing.assert_close(subject.logits(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(subject.differentiable(x), expected, rtol=1e-4, atol=tolerance)
    assert subject.describe()["gradients_in"] == precision
    x.requires_grad_(True)
    assert torch.autograd.grad(subject.differentiable(x).sum(), x)[0].dtype == torch.float32
    assert (subject.queries, subject.input_size, subject.abstain_below) == (5, SIDE, 0.5)
    assert BundleSubject(tmp_path, size=64).logits(torch.rand(1, 3, 64, 64)).shape == (1, 2)


def test_folding_leaves_no_normalisation_and_the_same_function():
    torch.manual_seed(1)
    network = PixelClassifier(Architecture(backbone="resnet18")).double()
    network.train()(torch.rand(8, 3, SIDE, SIDE, dtype=torch.float64))
    network.eval()
    x = torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64)
    expected = network(x)
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(x), expected)


def test_a_callable_is_asked_with_the_kits_signature(defence):
    subject = CallableSubject(defence, SIDE)
    x = torch.rand(3, 3, SIDE, SIDE)
    expected = 8 * torch.stack([x[:, 2].mean(dim=(1, 2)), x[:, 0].mean(dim=(1, 2))], dim=1)
    torch.testing.assert_close(subject.logits(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_defence", "MODULE:FUNCTION"),
        ("no_such_module:f", "no_such_module"),
        ("my_defence:missing", "has no function missing"),
        ("my_defence:number", "has no function number$"),
        ("model:logits", "model has no function logits; trades-bob has a module model of its own: rename yours"),
        ("attack.mine:logits", "'attack.mine'; trades-bob has a module attack of its own"),
    ],
)
def test_a_callable_that_is_none_is_one_line(defence, name, words):
    with pytest.raises(ConfigError, match=words):
        find_callable(name)


def test_a_module_that_fails_is_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name, text, words in (
        ("half_written", "def logits(x:\n", "SyntaxError"),
        ("a_script", "exit(0)", "SystemExit"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(ConfigError, match=f"'{name}:logits': importing it raised {words}"):
            find_callable(f"{name}:logits")


def test_a_callable_that_fails_is_one_line(defence, monkeypatch):
    subject = CallableSubject(defence, SIDE)
    monkeypatch.setattr(subject, "function", lambda _: {}["weights"])
    with pytest.raises(ConfigError, match="my_defence:logits: raised KeyError: 'weights'"):
        subject.logits(torch.rand(2, 3, SIDE, SIDE))


def test_a_callable_that_ends_the_process_is_one_line(defence, monkeypatch):
    subject = CallableSubject(defence, SIDE)
    monkeypatch.setattr(subject, "function", lambda _: sys.exit(0))
    with pytest.raises(ConfigError, match="my_defence:logits: raised SystemExit: 0"):
        subject.logits(torch.rand(2, 3, SIDE, SIDE))


def _blacken(pictures):
    pictures[:] = 0
    return np.zeros((len(pictures), 2))


def test_a_callable_may_write_to_what_it_is_given(defence, monkeypatch):
    subject = CallableSubject(defence, SIDE)
    pixels = np.full((2, SIDE, SIDE, 3), 102, np.uint8)
    x = to_tensor(pixels)  # its channels lie last, as the function wants them
    monkeypatch.setattr(subject, "function", _blacken)
    subject.logits(x)
    assert (to_pixels(x) == pixels).all()


def test_a_callable_with_other_logits_is_refused(defence):
    with pytest.raises(ConfigError, match=r"expected float32 \(2, 2\)"):
        CallableSubject("my_defence:wrong_shape", SIDE).logits(torch.rand(2, 3, SIDE, SIDE))


def test_the_gallery_keeps_the_worst():
    gallery = Gallery(most=3)
    blank = np.zeros((2, 2, 3), np.uint8)
    for badness in (1.0, 5.0, 3.0, 4.0, 2.0):
        gallery.add(badness, Shot(f"photo {badness}", 0, "", blank, blank, (0.0, badness)))
    assert [shot.logits[1] for shot in gallery.shots] == [5, 4, 3]
    assert not gallery.wants(2.5)


def test_the_worst_of_all_rows_prefers_confident_mistakes(session, photos):
    some = photos[:2]  # a bicycle, a bird
    rows = [
        Scored("a", "a", Result(some, np.array([[1, 2], [5, 1]], np.float32))),
        Scored("b", "b", Result(some, np.array([[8, 9], [0, 4]], np.float32))),
        Scored("c", "c", Result(some[::-1], np.array([[1, 9], [9, 1]], np.float32))),
    ]
    worst = worst_of_all(rows, session)
    assert worst.result.photos == some
    assert worst.result.logits.tolist() == [[8, 9], [5, 1]]


@pytest.mark.parametrize("broken", [[np.nan, np.nan], [3, -np.inf], [np.nan, 3]])
def test_an_answer_that_is_not_finite_is_the_worst(broken, session, photos):
    """It counts as wrong in its row, so in the worst of all rows too."""
    rows = [Scored(str(row), "", Result(photos[:1], np.array([row], np.float32))) for row in ([9, 1], broken, [8, 9])]
    worst = worst_of_all(rows, session)
    assert np.array_equal(worst.result.logits, np.array([broken], np.float32), equal_nan=True)


def test_the_worst_of_all_rows_knows_only_photos_that_all_rows_saw(session, photos):
    every = Result(photos[:4], np.array([[9, 0], [0, 9], [9, 0], [0, 9]], np.float32))
    few = Result(photos[1:3], np.array([[1, 0], [0, 1]], np.float32))
    worst = worst_of_all([Scored("clean", "", every), Scored("strong", "", few)], session)
    assert worst.result.photos == photos[1:3]
    assert worst.result.logits.tolist() == [[1, 0], [0, 1]]


def test_scores_have_the_fields_of_the_contract(session):
    subject = session.subject
    subject.abstain_below = 2.5
    logits = np.array([[3, 0], [0, 4], [2, 1], [1, 0], [0, 5]], np.float32)
    row = scores(logits, np.array([0, 1, 0, 1, 0]), subject)
    assert (row["covered_at_80"], row["errors_at_80"], row["accuracy_at_80"]) == (4, 1, 0.75)
    assert (row["covered_at_100"], row["errors_at_100"], row["accuracy_at_100"]) == (5, 2, 0.6)
    assert row["interval_at_80"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert row["at_threshold"] == {"covered": 3, "errors": 1, "accuracy": pytest.approx(2 / 3)}
    assert row["coverage_by"] == "confidence"


def test_scores_behind_an_endpoint_take_coverage_from_abstain(session):
    subject = session.subject
    subject.sees_logits = False
    votes = np.array([VOTES[label] for label in ("bicycle", "bird", "abstain", "bird")], np.float32)
    row = scores(votes, np.array([0, 1, 1, 0]), subject)
    assert (row["coverage_by"], row["covered_at_80"], row["errors_at_80"]) == ("abstain", 3, 1)
    assert (row["covered_at_100"], row["errors_at_100"]) == (4, 2)


def counts(planned):
    return {one.name: len(one.photos) for one in planned}


def test_the_full_profile_is_the_kit_on_all_photos(photos):
    planned = protocol.plan(photos * 20, "full", None, 224)
    assert counts(planned) == {"clean": 320, "corruptions": 320, "spatial": 320, "spsa": 320, "boundary": 100}


def test_the_short_profile_shrinks_as_pictures_grow(photos):
    many = photos * 100
    kept = {"clean": 1600, "corruptions": 1000, "spatial": 100, "pgd": 100, "spsa": 10, "label-only": 30}
    assert counts(protocol.plan(many, "short", None, 64)) == kept
    assert counts(protocol.plan(many, "short", None, 128)) == kept
    at_256 = {"clean": 1600, "corruptions": 250, "spatial": 25, "pgd": 25, "spsa": 2, "label-only": 8}
    assert counts(protocol.plan(many, "short", None, 256)) == at_256
    assert counts(protocol.plan(many, "short", ["square"], 64)) == {"square": protocol.SHORT_FOR_OTHERS}
    assert counts(protocol.plan(photos[:2], "short", ["pgd", "square"], 64)) == {"pgd": 2, "square": 2}


def test_a_row_may_name_its_photos(photos):
    asked = ["clean", "spatial:5", "boundary:150", "pgd:1000"]
    planned = protocol.plan(photos * 20, "full", asked, 64)
    assert counts(planned) == {"clean": 320, "spatial": 5, "boundary": 150, "pgd": 320}
    assert counts(protocol.plan(photos * 20, "short", ["label-only:40"], 64)) == {"label-only": 40}
    assert planned[1].passes == 5 * 775


@pytest.mark.parametrize("asked", ["fgsm", "fgsm:3", "pgd:", "pgd:0", "pgd:-1", "pgd:x", "pgd:²"])
def test_what_is_no_row_is_refused(photos, asked):
    with pytest.raises(ConfigError, match=r"fgsm|write pgd:N"):
        protocol.plan(photos, "full", ["clean", asked], 64)


def test_a_row_that_is_named_twice_is_refused(photos):
    with pytest.raises(ConfigError, match="names clean twice"):
        protocol.plan(photos, "full", ["clean:2", "pgd", "clean"], 64)


def test_estimates_count_what_a_row_costs(photos):
    session = Session(Linear(), seed=0)
    grid, clean, pgd_row = protocol.plan(photos, "full", ["spatial", "clean", "pgd:2"], SIDE)
    assert 0 < expected_s(session, grid, Speed(100.0)) - 775 * 16 / 100 < 60
    assert 0 < expected_s(session, clean, Speed(0.01)) - 16 * 100 < 60
    assert 0 < expected_s(session, clean, Speed(1e9)) < 60  # rehearsed on a photo
    assert 0 < expected_s(session, pgd_row, Speed(1e-9)) < 60  # its own rate, not that of the answers
    assert session.subject.queries == 0


@pytest.mark.parametrize("label", [0, 1])
def test_estimates_count_what_an_attack_computes_by_itself(label, photos, monkeypatch):
    """Half a millisecond a query, and a subject that takes none."""

    def slow(problem):
        for _ in range(problem.budget):
            time.sleep(0.005)
            yield problem.rng.integers(0, 256, (10, problem.dim), dtype=np.uint8)

    monkeypatch.setitem(walks.ATTACKS, "slow", slow)
    monkeypatch.setitem(protocol.ROWS, "label-only", protocol._label_only(walks.Walk("slow", 100_000)))
    session = Session(Linear(), seed=0)
    of_one_class = [photo for photo in photos if photo.label == label][:1]
    (walk,) = protocol.plan(of_one_class, "full", ["label-only"], SIDE)
    assert 40 < expected_s(session, walk, Speed(1e9)) < 400
    assert (session.subject.asked, session.subject.queries, session.subject.estimate_queries) == ([], 0, 0)


@pytest.mark.parametrize("name", ["label-only", "boundary", "spsa", "square"])
def test_no_rehearsal_ends_early(name, photos, monkeypatch):
    monkeypatch.setattr("attack.evaluation.rehearsal._StandIn.seen", property(lambda s: len(s.ticks)))
    ticks = [rehearsed(Session(Linear(), 0), protocol.plan([photo], "full", [name], SIDE)[0]) for photo in photos[:2]]
    assert min(ticks) > 5


def test_what_is_asked_together_waits_together(photos):
    """A walk of one photo has a chunk under way, and waits for it; other rows ask all they have."""
    session = Session(Linear(batch=1000), seed=0)
    for name, least, most in (("clean", 1, 1), ("corruptions", 17, 17), ("spatial", 775, 775), ("label-only", 4, 40)):
        (row,) = protocol.plan(photos[:2], "full", [name], SIDE)
        together = rehearsed(session, row).together
        assert least <= together <= most
        waited_s = expected_s(session, row, Speed(1e9, request_s=1e4)) / row.passes
        assert waited_s == pytest.approx(1e4 / (2 * together), rel=0.3)


def test_the_kits_parameters_are_in_the_report():
    assert protocol.ROWS["spatial"].parameters(224)["dys_px"] == list(range(-30, 31, 2))
    assert protocol.ROWS["spatial-documented"].parameters(224)["angles_degrees"] == list(DOCUMENTED.angles_degrees)
    assert protocol.ROWS["spatial-corners"].passes == 27
    spsa = protocol.ROWS["spsa"].parameters(224)
    assert (spsa["epsilon"], spsa["steps"], spsa["samples"]) == (16 / 255, 200, 64)
    assert protocol.ROWS["boundary"].parameters(224)["max_l2"] == 10
    assert protocol.ROWS["boundary"].parameters(64)["max_l2"] == pytest.approx(10 * 64 / 224)
    assert protocol.ROWS["pgd-l2"].parameters(112)["epsilon"] == 5
    assert protocol.ROWS["pgd"].parameters(112)["epsilon"] == 16 / 255


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (protocol._pgd(PGD("l_2", 2.5, 7)), "PGD-7, L2 2.5"),
        (protocol._pgd(PGD("l_inf", 8 / 255, 9, restarts=3)), "PGD-9, L-inf 8/255, 3 restarts"),
        (protocol._apgd("apgd", APGD("l_2", 1.5)), "APGD, L2 1.5, margin loss"),
        (protocol._apgd("apgd", APGD(loss="cross_entropy")), "APGD, L-inf 16/255, cross-entropy"),
        (protocol._square(Square(4 / 255, 2500)), "Square, L-inf 4/255, 2,500 queries"),
        (protocol._label_only(walks.Walk("auto", 1234)), "label-only, 1,234 queries"),
        (protocol._label_only(walks.Walk("auto", 1234, kit=True)), "label-only, up to 1,234 queries as the kit's"),
    ],
)
def test_a_rows_title_is_made_of_its_settings(row, words):
    assert row.title == f"{words}, after a random spatial map"


def test_the_document_has_every_row_and_what_it_costs():
    document = (ROOT / "docs" / "evaluation.md").read_text()
    assert all(f"`{name}`" in document for name in protocol.ROWS)
    told = document.partition("Passes per photo at most: ")[2].partition(". ")[0]
    passes = {row.passes for name, row in protocol.ROWS.items() if name != "pgd-restarts"}  # told for each start
    assert {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\b", told)} == passes


@pytest.mark.parametrize(("seconds", "words"), [(12, "12 s"), (200, "3.3 min"), (7200, "2.0 h"), (400_000, "4.6 days")])
def test_durations(seconds, words):
    assert duration(seconds) == words


def settings_for(defence, photos_folder, **more):
    return EvaluationSettings(kind="callable", reference=defence, images=str(photos_folder), size=SIDE, **more)


def test_a_whole_run_twice_is_equal_bit_for_bit(defence, tiny_photos, tmp_path):
    settings = settings_for(defence, tiny_photos / "val", attacks=("clean", "square", "pgd"), limit=4)
    reports = [evaluate(settings, tmp_path / name) for name in ("one", "two")]
    assert same_table(*reports) == []
    assert reports[0]["images"] == reports[1]["images"]
    assert [row["name"] for row in reports[0]["attacks"]] == ["clean", "square", "worst"]
    assert [row["name"] for row in reports[0]["left_out"]] == ["pgd"]
    assert "gradients" in reports[0]["left_out"][0]["reason"]
    other = evaluate(settings.model_copy(update={"seed": 1}), tmp_path / "three")
    assert other["images"] != reports[0]["images"]
    reports[1]["attacks"][1]["errors_at_80"] += 1
    reports[1]["attacks"][0]["seconds"] += 1
    reports[1]["attacks"][0]["repeats_differing"] = 1
    assert same_table(*reports) == ["square"]


def test_what_was_finished_is_not_lost_when_the_user_ends_it(defence, tiny_photos, tmp_path, monkeypatch):
    def ended(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(protocol.ROWS, "square", replace(protocol.ROWS["square"], run=ended))
    # No rehearsal: it would end there.
    monkeypatch.setattr("attack.evaluation.run.rehearsed", lambda *_: Rehearsal(own_s=0.0, together=1.0))
    settings = settings_for(defence, tiny_photos / "val", attacks=("clean", "square", "spatial"), limit=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings, tmp_path)
    report = read_report(tmp_path)
    assert [row["name"] for row in report["attacks"]] == ["clean"]
    assert [row["name"] for row in report["left_out"]] == ["square", "spatial"]
    assert all("not finished" in row["reason"] for row in report["left_out"])
    page = (tmp_path / "index.html").read_text()
    assert report["attacks"][0]["title"] in page
    assert "not finished" in page


def test_the_page_is_self_contained_and_says_what_it_must(defence, tiny_photos, tmp_path):
    settings = settings_for(defence, tiny_photos / "val", attacks=("clean", "label-only"), limit=2)
    report = evaluate(settings, tmp_path / "first")
    beside = evaluate(settings.model_copy(update={"seed": 0}), tmp_path / "second", tmp_path / "first")
    page = (tmp_path / "second" / "index.html").read_text()
    for source in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert source.startswith("data:")
    assert "http://" not in page
    assert "url(" not in page
    for row in beside["attacks"]:
        assert row["title"] in page
    assert beside["photos"]["sha256"] in page
    assert "TRADESv2" in page
    assert "At equal L2" in page
    assert page.count("at the limit, other model") == len(
        list((tmp_path / "first" / "at_the_limit").glob("*after.png"))
    )
    assert read_report(tmp_path / "first") == json.loads(json.dumps(report))


def test_pictures_at_the_limit_are_of_one_model_and_one_row(defence, tiny_photos, tmp_path, monkeypatch):
    for name, attack in (("label-only", "auto"), ("boundary", "boundary")):
        monkeypatch.setitem(protocol.ROWS, name, protocol._label_only(walks.Walk(attack, 40)))
    settings = settings_for(defence, tiny_photos / "val", attacks=("label-only", "boundary"), limit=2)
    both = evaluate(settings, tmp_path / "there")["at_the_limit"]
    assert {row: len(files) for row, files in both.items()} == {"label-only": 2, "boundary": 2}
    listed = {entry[kind] for files in both.values() for entry in files for kind in ("before", "after")}
    lies = {f"at_the_limit/{file.name}" for file in (tmp_path / "there" / "at_the_limit").iterdir()}
    assert listed == lies
    assert len(listed) == 8

    one = settings.model_copy(update={"attacks": ("boundary",)})
    kept = tmp_path / "there" / "at_the_limit" / "label-only.notes.txt"
    kept.write_text("the user's own")
    evaluate(one, tmp_path / "there")
    assert len(list(kept.parent.iterdir())) == 5  # those of the row that ran, and what is not ours

    (tmp_path / "there" / both["label-only"][0]["after"]).write_bytes(b"of another run")
    evaluate(settings, tmp_path / "here", tmp_path / "there")
    page = (tmp_path / "here" / "index.html").read_text()
    assert page.count("at the limit, other model") == 2
    for row, files in both.items():
        for entry in files:
            assert f"{entry['photo']}, {row}: answered" in page

    for entry, spoil in zip(both["boundary"], (Path.unlink, lambda file: file.write_bytes(b"spoilt")), strict=True):
        spoil(tmp_path / "there" / entry["after"])
    evaluate(one, tmp_path / "here", tmp_path / "there")
    page = (tmp_path / "here" / "index.html").read_text()
    assert ("at the limit, other model" in page, page.count(", boundary: answered")) == (False, 2)


@pytest.mark.parametrize(("answers", "told"), [("0 * blue, 0 * red", True), ("8 * blue, 8 * red", False)])
def test_the_page_shows_the_score_with_ties_by_chance_where_it_differs(answers, told, defence, tiny_photos, tmp_path):
    (tmp_path / "my_defence.py").write_text(DEFENCE.replace("8 * blue, 8 * red", answers))
    evaluate(settings_for(defence, tiny_photos / "val", attacks=("clean",), limit=5), tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert ("of 4, ties by chance: 60.0" in page) == ("ties by chance" in page) == told


def test_an_older_report_that_calls_no_answer_right_is_read_as_not_measured(defence, tiny_photos, tmp_path):
    """Behind an endpoint that abstained on everything; at 100 % an abstention has always counted as not right."""
    settings = settings_for(defence, tiny_photos / "val", attacks=("clean",), limit=2)
    earlier = evaluate(settings, tmp_path / "old")
    (row,) = earlier["attacks"]
    fixed = {"covered": 0, "errors": 0, "accuracy": None}
    row |= {"covered_at_80": 0, "errors_at_80": 0, "accuracy_at_80": 1.0, "at_threshold": fixed | {"accuracy": 1.0}}
    (tmp_path / "old" / "report.json").write_text(json.dumps(earlier))
    evaluate(settings, tmp_path / "new", tmp_path / "old")
    assert "<td>–<small>0 of 0</small></td>" in (tmp_path / "new" / "index.html").read_text()
    row |= {"accuracy_at_80": None, "at_threshold": fixed}
    assert same_table(read_report(tmp_path / "old"), earlier) == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ("8 * blue, 8 * red", 0),
        ("1.0 * (blue > red), 1.0 * (blue <= red)", 4),  # labels
        ("0 * blue, 0 * red", 4),
        ("1 / (1 + np.exp(9 * (red - blue))), 1 / (1 + np.exp(9 * (blue - red)))", 0),  # probabilities
        ("1 / (1 + np.exp(100 * (red - blue))), 1 / (1 + np.exp(100 * (blue - red)))", 4),  # saturated
    ],
)
def test_logits_that_are_none_are_told_before_a_search_follows_them(
    answers, told, defence, tiny_photos, tmp_path, monkeypatch, capfd
):
    (tmp_path / "my_defence.py").write_text(DEFENCE.replace("8 * blue, 8 * red", answers))
    monkeypatch.setattr("attack.evaluation.run.run_rows", lambda *_: iter(()))
    for attacks in (("spsa:4", "square:2"), ("clean", "corruptions:1")):
        with pytest.raises(DataError):
            evaluate(settings_for(defence, tiny_photos / "val", attacks=attacks), tmp_path / "out")
    err = capfd.readouterr().err
    assert err.count("warning") == (told > 0)
    assert f"warning: {told} of 4 photos have the very same logits" in err or not told
    assert "spsa, square cannot follow them" in err or not told


@pytest.mark.parametrize(
    "odd",
    [
        {"settings": 5},
        {"photos": {}},
        {"model": []},
        {"attacks": {}},
        {"attacks": [5]},
        {"attacks": [{"name": "clean"}]},
    ],
)
def test_a_report_that_lacks_what_will_be_shown_is_refused_before_the_run(odd, tmp_path):
    whole = {"version": 1, "settings": {}, "photos": {"sha256": ""}, "model": {"sha256": ""}, "attacks": []}
    (tmp_path / "report.json").write_text(json.dumps(whole))
    assert read_report(tmp_path) == whole
    (tmp_path / "report.json").write_text(json.dumps(whole | odd))
    with pytest.raises(DataError, match="not a report that this version reads"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not a readable report"):
        read_report(tmp_path)


def run_command(*arguments):
    app([*map(str, arguments)], standalone_mode=False)


def test_the_command_and_its_repetition(defence, tiny_photos, tmp_path, capsys):
    run_command(
        *("evaluate", "--callable", defence, "--images", tiny_photos / "val", "--size", SIDE, "--limit", 4),
        *("--attacks", "clean,label-only", "--out", tmp_path / "a", "--json", tmp_path / "copy.json"),
    )
    first = capsys.readouterr()
    assert "label-only" in first.out
    assert "at most" in first.err  # the estimate
    assert json.loads((tmp_path / "copy.json").read_text()) == read_report(tmp_path / "a")
    run_command("evaluate", "--from", tmp_path / "a" / "report.json", "--out", tmp_path / "b")
    assert "equal to the earlier table" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x"], "what is to be evaluated"),
        (["--out", "x", "--callable", "a:b"], "which photos"),
        (["--out", "x", "--callable", "a:b", "--bundle", "c"], "give one of"),
        (["--out", "x", "--callable", "a:b", "--images", "i", "--profile", "long"], "--profile"),
        (["--out", "x", "--bundle", "nowhere", "--images", "VAL"], "nowhere"),
        (["--out", "x", "--callable", "a:b", "--images", "VAL", "--attacks", "fgsm"], "fgsm"),
        (["--out", "x", "--bundle", "nowhere", "--images", "VAL", "--device", "tpu"], "tpu"),
        (["--out", "x", "--from", "nowhere/report.json"], "not a readable report"),
        (["--out", "x", "--from", "half.json"], "half.json: not a report that this version reads"),
        (
            ["--out", "x", "--callable", "a:b", "--images", "VAL", "--beside", "nowhere"],
            "nowhere: not a readable report",
        ),
        (["--out", "own", "--callable", "a:b", "--images", "VAL", "--beside", "own"], "writes over what lies in own"),
        (
            ["--out", "own", "--callable", "a:b", "--images", "VAL", "--beside", "./own/report.json"],
            "--beside own/report.json: this run writes over",
        ),
        (["--out", "x", "--callable", "a:b", "--images", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_of_the_user_are_one_line(arguments, words, tiny_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.json").write_text(json.dumps({"version": 1}))
    (tmp_path / "own").mkdir()
    whole = {"version": 1, "settings": {}, "photos": {"sha256": ""}, "model": {"sha256": ""}, "attacks": []}
    (tmp_path / "own" / "report.json").write_text(json.dumps(whole))
    arguments = [str(tiny_photos / "val") if word == "VAL" else word for word in arguments]
    with pytest.raises((ConfigError, DataError, ValueError), match=words) as error:
        run_command("evaluate", *arguments)
    assert "\n" not in str(error.value)


def test_the_command_that_repeats_a_run_is_on_the_page():
    settings = {"kind": "bundle", "reference": "b", "images": "my photos", "attacks": ["clean", "pgd:9"]}
    settings |= {"profile": "full", "limit": 4, "seed": 0, "size": None, "device": "cpu"}
    assert command_of(settings) == (
        "trades-bob evaluate --bundle b --images 'my photos' --attacks clean,pgd:9 "
        "--profile full --limit 4 --seed 0 --device cpu --out DIR"
    )


def test_the_digest_knows_the_photos_that_walks_may_start_from(defence, tiny_photos, tmp_path):
    folder = shutil.copytree(tiny_photos / "val", tmp_path / "val")
    settings = settings_for(defence, folder, attacks=("clean",), limit=2)
    before = evaluate(settings, tmp_path / "a")
    drawn = {image["photo"] for image in before["images"]}
    other = next(photo for photo in all_photos(folder, seed=0) if photo.name not in drawn)
    other.path.write_bytes(other.path.read_bytes() + b"\0")
    assert changed_inputs(before, evaluate(settings, tmp_path / "b")) == ["photos"]


def test_a_photo_that_goes_while_a_row_runs_takes_no_row_with_it(defence, tiny_photos, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_photos / "val", tmp_path / "val")
    settings = settings_for(defence, folder, attacks=("clean",), limit=2)
    whole = evaluate(settings, tmp_path / "a")

    def losing(*given):
        all_photos(folder, seed=0)[-1].path.unlink()
        return variants.clean(*given[:-1])

    monkeypatch.setitem(protocol.ROWS, "clean", replace(protocol.ROWS["clean"], run=losing))
    monkeypatch.setattr("attack.evaluation.run.rehearsed", lambda *_: Rehearsal(own_s=0.0, together=1.0))
    assert changed_inputs(whole, evaluate(settings, tmp_path / "b")) == []
    gone = Photo(folder / "bird" / "gone.png", 1)
    assert photos_digest([gone]) != photos_digest([])


def test_a_folder_is_of_one_evaluation_at_a_time_which_clears_what_one_left_half_written(
    defence, tiny_photos, tmp_path
):
    settings = settings_for(defence, tiny_photos / "val", attacks=("clean",), limit=2)
    with held(tmp_path / "out"), pytest.raises(ConfigError, match="out: another evaluation is writing there"):
        evaluate(settings, tmp_path / "out")
    pictures = tmp_path / "out" / "at_the_limit"
    pictures.mkdir()
    for half_written in (
        ".report.json.12345678",
        ".index.html.abcdefgh",
        "at_the_limit/.label-only.bird-0.after.png.1_3_5_7_",
    ):
        (tmp_path / "out" / half_written).write_text("half")
    evaluate(settings, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"report.json", "index.html", "at_the_limit"}
    assert list(pictures.iterdir()) == []


def test_a_finished_report_is_a_benchmark_without_a_second_run(defence, tiny_photos, tmp_path):
    settings = settings_for(defence, tiny_photos / "val", attacks=("clean", "corruptions"), limit=2)
    report = evaluate(settings, tmp_path)
    name, found = finished(read_report(tmp_path))
    assert name == f"evaluate_report_{SIDE}px"
    assert list(found["rows"]) == ["clean", "corruptions"]
    assert found["rows"]["corruptions"] == {
        "photos": 2,
        "seconds": report["attacks"][1]["seconds"],
        "queries": 2 * 17,
    }
    assert found["run_on"]["torch"] == torch.__version__


def test_pixels_and_tensors_go_round():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    pixels.setflags(write=False)  # as Pillow gives them; torch warns once a process
    assert (to_pixels(to_tensor(pixels)) == pixels).all()


def test_split_names_the_wrong_logit():
    right, wrong = split(torch.tensor([[1.0, 2.0]]), torch.tensor([1]))
    assert (float(right), float(wrong)) == (2, 1)
