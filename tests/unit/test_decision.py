"""Label-only attacks on boundaries whose nearest point is known; no probe leaves the lattice."""

import contextlib
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack.decision import ATTACKS, UNBOUNDED
from attack.decision.arc import ArcSearch
from attack.decision.auto import AutoParameters, auto
from attack.decision.averaging import AveragingParameters, AveragingStepper
from attack.decision.averaging import _probes as averaging_probes
from attack.decision.averaging import _weights as averaging_weights
from attack.decision.boundary import BoundaryParameters, _Walk
from attack.decision.problem import Problem, distances, to_lattice
from attack.decision.reach import Reach
from attack.decision.starts import best_start, find_start, near_copies
from attack.decision.subspace import coordinates, middle
from attack.decision.texture import texture
from attack.decision.transfer import TransferParameters, TransferStepper, transferred

SIDE = 6
DIM = 3 * SIDE * SIDE
pytestmark = pytest.mark.unit


def half_space(seed: int):
    """Wrong beyond a plane 200 pixel units from the middle grey: far on this scale, inside the box."""
    normal = _unit(seed)
    return 200.0, lambda x: (x - 127.0) @ normal > 200.0, _corner(normal)


def sphere(seed: int):
    """Wrong outside a ball of 400 about a point 150 from the middle grey, which is 250 from its surface."""
    way = _unit(seed)
    centre = 127.0 - 150.0 * way
    return 250.0, lambda x: np.linalg.norm(x - centre, axis=1) > 400.0, _corner(way)


def _unit(seed: int) -> np.ndarray:
    way = np.random.default_rng(seed).standard_normal(DIM)
    return way / np.linalg.norm(way)


def _corner(way: np.ndarray) -> np.ndarray:
    """A far picture, only roughly in the right direction."""
    return 127.0 + 100.0 * np.sign(way + np.random.default_rng(7).standard_normal(DIM) / np.sqrt(DIM))


def nearest(attack, wrong, start: np.ndarray, seed: int, budget: int, check=len, surrogate=None) -> list[float]:
    """The nearest wrong picture so far after each query."""
    original = np.full(DIM, 127, np.float32)
    photo = to_lattice(start.astype(np.float32))
    assert wrong(photo[None].astype(float))[0]
    problem = Problem(original, SIDE, np.random.default_rng(seed), lambda: iter([photo] * 3), budget, surrogate)
    reached: list[float] = []
    course = attack(problem)
    probes = next(course)
    while len(reached) < budget:
        check(probes)
        hits = wrong(probes.astype(float))
        lengths = np.where(hits, distances(problem, probes), np.inf)
        reached += np.minimum(np.minimum.accumulate(lengths), reached[-1] if reached else np.inf).tolist()
        try:
            probes = course.send(hits)
        except StopIteration:
            break
    return reached


BUDGETS = {"boundary": 30000, "boundary-tuned": 8000, "hopskipjump": 6000, "surfree": 6000, "cgba": 8000}
BOUNDED = [name for name in ATTACKS if name not in UNBOUNDED]


@pytest.mark.parametrize("shape", [half_space, sphere])
@pytest.mark.parametrize("name", BOUNDED)
def test_reaches_the_nearest_point_within_five_percent(name, shape):
    distance, wrong, start = shape(3)
    best = nearest(ATTACKS[name], wrong, start, 0, BUDGETS.get(name, 3000))[-1]
    assert distance * 0.999 <= best <= distance * 1.05


@pytest.mark.parametrize("name", BOUNDED)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), level=st.sampled_from([0.0, 3.0, 250.0, 255.0]))
def test_no_probe_leaves_the_lattice(name, seed, level):
    rng = np.random.default_rng(seed)
    original = np.full(DIM, level, np.float32)
    problem = Problem(original, SIDE, rng, lambda: iter([rng.integers(0, 256, DIM, dtype=np.uint8)]), 200)
    course = ATTACKS[name](problem)
    probes = next(course)
    for _ in range(40):
        assert probes.dtype == np.uint8
        assert probes.ndim == 2
        assert probes.shape[1] == DIM
        try:
            probes = course.send(rng.random(len(probes)) < 0.5)
        except StopIteration:
            break


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50))
def test_the_lattice_is_the_nearest_picture(values):
    x = np.array(values, np.float32)
    lattice = to_lattice(x.copy())
    assert lattice.dtype == np.uint8
    assert np.abs(lattice - np.clip(x, 0, 255)).max() <= 0.5


@pytest.mark.parametrize("name", BOUNDED)
def test_same_seed_and_answers_give_the_same_probes(name):
    _, wrong, start = half_space(1)
    traces = []
    for _ in range(2):
        seen: list[bytes] = []
        nearest(ATTACKS[name], wrong, start, 5, 300, lambda probes, seen=seen: seen.append(probes.tobytes()))
        traces.append(seen)
    assert traces[0] == traces[1]


@pytest.mark.parametrize("name", BOUNDED)
def test_without_a_wrong_picture_the_attack_ends(name):
    problem = Problem(np.full(DIM, 127, np.float32), SIDE, np.random.default_rng(0), lambda: iter([]), 100)
    course = ATTACKS[name](problem)
    with pytest.raises(StopIteration):
        _never_wrong(course, next(course))


def _never_wrong(course, probes) -> None:
    for _ in range(100):
        probes = course.send(np.zeros(len(probes), bool))


def test_a_spatial_map_is_the_last_start():
    """Wrong only with a black corner, as a shrunk or turned picture has: no photo and no noise is."""
    problem = Problem(np.full(DIM, 127, np.float32), SIDE, np.random.default_rng(0), lambda: iter([]), 200)
    course = find_start(problem)
    probes = next(course)
    with pytest.raises(StopIteration) as end:
        _answered(course, probes, lambda probes: probes[:, :3].max(axis=1) == 0)
    assert end.value.value[:3].max() == 0


def _answered(course, probes, wrong) -> None:
    while True:
        probes = course.send(wrong(probes))


SHARP = 32


def _ripple() -> np.ndarray:
    """Unit (D,): brightness of the 20th frequency along the rows."""
    rows = np.cos(np.pi / SHARP * (np.arange(SHARP) + 0.5) * 20)
    ripple = np.broadcast_to(rows[:, None, None], (SHARP, SHARP, 3)).ravel()
    return ripple / np.linalg.norm(ripple)


def _sharp(attack, budget: int) -> tuple[float, list[int]]:
    """Distance over the nearest after the budget, and the sizes of the chunks within it; wrong beyond a ripple."""
    normal, original = _ripple(), np.full(3 * SHARP**2, 127, np.float32)
    photo = to_lattice((original + 1500 * normal + np.linspace(-60, 60, len(original))).astype(np.float32))
    problem = Problem(original, SHARP, np.random.default_rng(0), lambda: iter([photo] * 12), budget)
    course, sizes, best = attack(problem), [1], np.inf  # the clean photo
    probes = next(course)
    while sum(sizes) + len(probes) <= budget:
        sizes.append(len(probes))
        hits = (probes - original) @ normal > 400
        best = min([best, *distances(problem, probes[hits]).tolist()])
        probes = course.send(hits)
    return best / 400, sizes


def test_auto_finds_a_normal_of_the_middle_frequencies_that_regression_misses():
    assert _sharp(ATTACKS["auto"], 400)[0] < 1.3 < _sharp(ATTACKS["regression"], 400)[0]


def _fine(attack, budget: int) -> float:
    """Distance over the nearest after the budget; wrong beyond a ripple finer than either belief of `auto` knows."""
    side = 64
    wave = np.cos(np.pi / side * (np.arange(side) + 0.5) * 30)[:, None] * np.cos(np.arange(side) / side)
    normal = np.repeat(wave.ravel(), 3) * middle(side, 0.5)
    normal /= np.linalg.norm(normal)
    original = np.full(3 * side**2, 127, np.float32)
    photo = to_lattice((original + 2000 * normal + np.linspace(-60, 60, len(original))).astype(np.float32))
    problem = Problem(original, side, np.random.default_rng(0), lambda: iter([photo] * 12), budget)
    course, asked, best = attack(problem), 0, np.inf
    probes = next(course)
    while asked + len(probes) <= budget:
        asked += len(probes)
        hits = (probes - original) @ normal > 400
        best = min([best, *distances(problem, probes[hits]).tolist()])
        probes = course.send(hits)
    return best / 400


def test_auto_goes_on_in_all_frequencies_where_its_beliefs_are_stuck():
    beliefs = partial(auto, parameters=AutoParameters(expected_gain=-1))
    assert _fine(auto, 1500) < 0.85 * _fine(beliefs, 1500)


def test_a_texture_has_a_normals_spectrum_and_lies_in_the_middle():
    side = 32
    field = texture(side)
    places = field.places(np.random.default_rng(0), 200)
    squares = np.stack([field.direction(place) for place in places]).reshape(-1, side, side, 3)
    assert (squares**2).sum((1, 2, 3)).mean() == pytest.approx(1, abs=0.1)
    energy = (np.abs(np.fft.fft2(squares.sum(3))) ** 2).mean(0)
    f = 2 * np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    assert energy[f > 0.75].mean() < 0.02 * energy[f < 0.4].mean()
    assert (squares**2).mean(0)[:4, :4].mean() < 0.5 * (squares**2).mean(0)[14:18, 14:18].mean()


def test_the_normal_of_a_texture_is_found_by_the_signs_of_few_probes():
    """160 answers say more of a smooth normal of 3,072 values than that many of white noise could, which is 0.18."""
    field, found, plain = texture(32), [], []
    for seed in range(8):
        normal, *directions = (field.direction(place) for place in field.places(np.random.default_rng(seed), 161))
        total = np.sum([np.sign(direction @ normal) * direction for direction in directions], axis=0)
        found.append(_cosine(field.normal(total), normal))
        plain.append(_cosine(total, normal))
    assert np.mean(found) > max(0.4, 1.03 * np.mean(plain)), "the prior is worth something, too"


def test_a_textures_probes_and_sums_are_those_of_its_directions():
    field, rng = texture(16), np.random.default_rng(4)
    places, weights = field.places(rng, 9), rng.standard_normal(9).astype(np.float32)
    directions = np.stack([field.direction(place) for place in places])
    np.testing.assert_allclose(field.sum(places, weights), weights @ directions, atol=1e-5)
    point = rng.uniform(0, 255, directions.shape[1]).astype(np.float32)
    probes = averaging_probes(field, point, 90.0, places)
    off = np.abs(probes - np.clip(point + 90 * directions, 0, 255))
    assert off.max() < 0.5 + 1e-3, "each value is the nearest one"


def test_averaging_asks_more_about_later_points():
    original = np.full(3 * 8 * 8, 100, np.float32)
    stepper = AveragingStepper(
        Problem(original, 8, np.random.default_rng(0), lambda: iter(()), 1000), AveragingParameters()
    )
    asked = []
    for _ in range(40):
        step, count = stepper.step(original + 50, 50.0, 10**6), 0
        chunk = next(step)
        while len(chunk) == AveragingParameters().chunk:
            count += len(chunk)
            chunk = step.send(np.arange(len(chunk)) % 2 == 0)
        asked.append(count)
    assert asked[:10] == [160] * 10
    assert asked[39] == 320


def test_a_point_off_the_boundary_does_not_spoil_the_normal_of_its_probes():
    """Nine in ten are wrong: the few that are not tell the normal, and the others' mean nothing."""
    field = texture(32)
    normal = field.direction(field.places(np.random.default_rng(1), 1)[0])
    places = field.places(np.random.default_rng(3), 160)
    across = np.array([field.direction(place) @ normal for place in places])
    hits = across > np.quantile(across, 0.1)
    flat = sum(float(np.where(hit, 1, -1)) * field.direction(place) for hit, place in zip(hits, places, strict=True))
    found = field.normal(field.sum(places, averaging_weights(hits)))
    assert _cosine(found, normal) > 1.2 * _cosine(field.normal(flat), normal)


def test_probes_go_nearer_where_nearly_all_are_answered_rightly_and_no_farther_than_asked():
    reach, chunk = Reach(0.1), np.zeros(40, bool)
    for _ in range(9):
        reach.learn(chunk)
    assert reach.pixels(1e6, 12) == pytest.approx(1e5 * 0.7**9)
    assert reach.pixels(0.0, 100) == pytest.approx(1.5), "half of what rounding adds, at least"
    reach.learn(np.arange(40) % 2 == 0)
    assert reach.share == pytest.approx(0.1 * 0.7**9), "answers that differ are what is wanted"
    for _ in range(20):
        reach.learn(~chunk)
    assert reach.share == 0.1


def test_averaging_finds_the_reach_at_which_answers_differ():
    """Wrong only within a small ball about the start: a probe at a tenth of the distance never is."""
    rng, side = np.random.default_rng(0), 16
    original, point = np.full(3 * side**2, 60, np.float32), np.full(3 * side**2, 190, np.float32)
    problem = Problem(original, side, rng, lambda: iter(()), 10**6)
    stepper, shares = AveragingStepper(problem, AveragingParameters()), []
    for _ in range(8):
        step = stepper.step(point, float(np.linalg.norm(point - original)), 10**6)
        with contextlib.suppress(StopIteration):
            probes = next(step)
            while True:
                hits = np.linalg.norm(probes - point, axis=1) < 40
                shares += [hits.mean()] * (len(probes) == AveragingParameters().chunk)
                probes = step.send(hits)
    assert shares[0] == 0
    assert 0.1 < np.mean(shares[-8:]) < 0.9


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_coordinates_and_pictures_are_adjoint():
    space, rng = coordinates(16, 60, 8, 1), np.random.default_rng(0)
    numbers, picture = rng.standard_normal((1, 60), np.float32), rng.standard_normal((1, 768), np.float32)
    assert (space.expand(numbers) @ picture.T)[0, 0] == pytest.approx(
        (numbers @ space.reduce(picture).T)[0, 0], rel=1e-4
    )


@pytest.mark.parametrize("budget", [130, 155, 180, 205])
def test_auto_ends_its_budget_with_a_finished_search(budget):
    """What the budget cuts off is a search that had room for all its queries, never a chunk about a point."""
    _, sizes = _sharp(ATTACKS["auto"], budget)
    assert sum(sizes) >= budget - 3
    assert max(sizes[-4:]) <= 3


def test_a_chunk_about_a_point_is_followed_by_a_search():
    """No point is probed twice: forty answers and what was learned before are enough to go on."""
    _, sizes = _sharp(ATTACKS["auto"], 400)
    chunks = [place for place, size in enumerate(sizes) if size > 10]
    assert len(chunks) > 3
    assert (np.diff(chunks) > 1).all()


def test_near_copies_are_asked_from_the_nearest_on():
    original = np.random.default_rng(0).integers(0, 256, 3 * SHARP**2).astype(np.float32)
    problem = Problem(original, SHARP, np.random.default_rng(0), lambda: iter([]))
    copies = near_copies(problem)
    assert copies.shape == (10, 3 * SHARP**2)
    assert (np.diff(distances(problem, copies)) > 0).all()


def _kit_walk(rule, steps: int) -> tuple[list[np.ndarray], _Walk]:
    """The chunks of the kit's walk from a far point, and the walk."""
    problem = Problem(np.full(DIM, 127, np.float32), SIDE, np.random.default_rng(0), lambda: iter([]))
    walk = _Walk(problem, np.full(DIM, 167, np.float32), BoundaryParameters(steps=steps, spherical_step=0.1))
    course, chunks = walk.steps(), []
    with pytest.raises(StopIteration):
        _answered(course, next(course), lambda probes: rule(chunks.append(probes) or probes))
    return chunks, walk


def test_the_kits_walk_asks_the_sphere_first_every_tenth_step():
    lengths = [[round(float(np.linalg.norm(probe - 127.0))) for probe in probes] for probes in _kit_walk(_all, 10)[0]]
    assert [len(chunk) for chunk in lengths] == [1] * 11  # nine steps, the sphere, and what it turned wrong
    assert abs(lengths[9][0] - lengths[8][0]) <= 1
    assert lengths[10][0] <= lengths[9][0] - 3


def test_the_kits_walk_takes_nothing_on_that_was_right_on_the_sphere():
    chunks, walk = _kit_walk(lambda probes: ~_all(probes), 10)
    assert len(chunks) == 10 * 25
    assert len(walk.spherical_hits) == 25
    assert not walk.source_hits


@pytest.mark.parametrize(("wrong", "change"), [(5, 1 / 1.5), (6, 1), (15, 1), (16, 1.5)])
def test_the_kits_source_step_wants_a_fifth_to_half_of_its_probes_wrong(wrong, change):
    walk = _kit_walk(_all, 1)[1]
    walk.source_hits.extend([True] * wrong + [False] * (30 - wrong))
    walk._adapt()
    assert walk.source_step == pytest.approx(1e-2 * change)


def _all(probes: np.ndarray) -> np.ndarray:
    return np.ones(len(probes), bool)


def test_angles_of_the_arc_travel_together():
    """At most six round trips, where halving took up to twelve, and the end within the tolerance."""
    problem = Problem(np.full(DIM, 127, np.float32), SIDE, np.random.default_rng(0), lambda: iter([]))
    distance, wrong, _ = half_space(1)
    normal = _unit(1).astype(np.float32)
    across = _unit(2).astype(np.float32)
    point = to_lattice(127 + np.float32(1.01 * distance) * normal + 150 * (across - (across @ normal) * normal))
    assert wrong(point[None].astype(float))[0]
    estimate = normal + np.float32(0.3) * _unit(3).astype(np.float32)
    course, sizes = ArcSearch(problem, 2e-3).nearer(point.astype(np.float32), estimate / np.linalg.norm(estimate)), []
    with pytest.raises(StopIteration) as end:
        _answered(course, next(course), lambda probes: sizes.append(len(probes)) or wrong(probes.astype(float)))
    assert max(sizes) > 1
    assert len(sizes) <= 6
    found = end.value.value
    assert distances(problem, found[None])[0] < 1.1 * distance
    assert wrong(np.rint(found)[None])[0]
    assert (found != np.rint(found)).any(), "rounding is not added up"


def test_the_arc_expects_what_earlier_ones_bore():
    """Where a normal promises four times too much, the tenth search costs fewer queries than the first."""
    problem = Problem(np.full(DIM, 127, np.float32), SIDE, np.random.default_rng(0), lambda: iter([]))
    radius, across = _unit(1), _unit(2)
    across = (across - (across @ radius) * radius) / np.linalg.norm(across - (across @ radius) * radius)
    point, normal = (127 + 300 * radius).astype(np.float32), (0.5 * radius + 0.8 * across).astype(np.float32)
    arc, predicted, spent = ArcSearch(problem, 2e-3), np.arctan2(0.8, 0.5), []

    def wrong(probes: np.ndarray) -> np.ndarray:
        spent[-1] += len(probes)
        ways = probes - 127.0
        return np.arctan2(ways @ across, ways @ radius) < predicted / 4

    for _ in range(10):
        spent.append(0)
        course = arc.nearer(point, normal)
        with pytest.raises(StopIteration):
            _answered(course, next(course), wrong)
    assert arc.share == pytest.approx(0.25, abs=0.03)
    assert spent[-1] < spent[0]


@pytest.mark.parametrize("photos", [2, 6])
def test_further_photos_are_asked_together_and_the_nearest_line_is_the_start(photos):
    """Of the lines, the one that is cut nearest wins, be there one line more than the first photo's or five."""
    original = np.full(DIM, 127, np.float32)
    shares = np.array([0.9, 0.3, 0.7, 0.6, 0.95, 0.97])[:photos]  # of its length, where a line is cut
    ways = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, photos)))[0].T
    ends = to_lattice((original + 500 * ways).astype(np.float32))
    problem = Problem(original, SIDE, np.random.default_rng(0), lambda: iter(ends))
    course, sizes = best_start(problem), []

    def wrong(probes: np.ndarray) -> np.ndarray:
        sizes.append(len(probes))
        along = (probes - original) @ ways.T
        line = along.argmax(axis=1)
        return along.max(axis=1) > 500 * shares[line]

    with pytest.raises(StopIteration) as end:
        _answered(course, next(course), wrong)
    assert distances(problem, end.value.value[None])[0] == pytest.approx(150, rel=0.03)
    assert photos - 1 in sizes


def guided(surrogate, budget: int) -> list[float]:
    """`auto` against a half-space that is 200 away, with a surrogate."""
    _, wrong, start = half_space(3)
    return nearest(auto, wrong, start, 0, budget, surrogate=surrogate)


def test_a_surrogate_that_knows_the_boundary_leads_to_the_nearest_point_in_few_queries():
    normal = _unit(3).astype(np.float32)
    alone, along = (guided(surrogate, 300) for surrogate in (None, lambda _: 7 * normal))
    assert along[60] <= 200 * 1.05 < alone[60]


def test_a_step_along_a_surrogates_gradient_comes_as_near_as_a_plane_allows():
    normal = _unit(3).astype(np.float32)
    distance, wrong, start = half_space(3)
    problem = Problem(np.full(DIM, 127, np.float32), SIDE, np.random.default_rng(0), lambda: iter([]), 100)
    way = start.astype(np.float32) - 127
    point = 127 + way * np.float32(1.001 * distance / (way @ normal))
    stepper = TransferStepper(problem, lambda _: normal, TransferParameters())
    step = stepper.step(point, float(np.linalg.norm(point - 127)), 10)
    with pytest.raises(StopIteration) as end:
        _answered(step, next(step), lambda probes: wrong(probes.astype(float)))
    assert np.linalg.norm(end.value.value - 127) < 1.02 * distance < 0.9 * np.linalg.norm(point - 127)


def test_auto_follows_a_surrogate_whose_proposals_are_no_start(monkeypatch):
    normal = _unit(3).astype(np.float32)
    monkeypatch.setattr(sys.modules[auto.__module__], "transferred", lambda *_: np.full((1, DIM), 127, np.uint8))
    alone, along = (guided(surrogate, 150) for surrogate in (None, lambda _: normal))
    assert along[-1] <= 200 * 1.02 < 200 * 1.2 < alone[-1]


def test_a_surrogate_that_leads_astray_costs_queries_and_no_more():
    normal = _unit(3).astype(np.float32)
    rng = np.random.default_rng(5)

    def noise(_: object) -> np.ndarray:
        return rng.standard_normal(DIM, dtype=np.float32)

    for surrogate in (noise, lambda _: -normal, lambda _: np.zeros(DIM, np.float32)):
        assert guided(surrogate, 3000)[-1] <= 200 * 1.05


def test_what_a_surrogate_proposes_as_a_start_lies_in_its_balls():
    original = np.full(DIM, 127, np.float32)
    problem = Problem(original, SIDE, np.random.default_rng(0), lambda: iter([]))
    parameters = TransferParameters()
    pictures = transferred(problem, lambda _: np.linspace(-1, 1, DIM, dtype=np.float32), parameters)
    reached = distances(problem, pictures) / np.sqrt(DIM)
    np.testing.assert_allclose(reached, parameters.lengths, atol=0.5)
    assert (pictures[:, 0] < 127).all()
    assert (pictures[:, -1] > 127).all()


def test_proposals_and_near_copies_are_asked_nearest_first():
    original = np.random.default_rng(1).uniform(60, 200, DIM).astype(np.float32)
    gradient = np.random.default_rng(2).standard_normal(DIM, dtype=np.float32)
    counts = []
    for surrogate in (None, lambda _: gradient):
        problem = Problem(original, SIDE, np.random.default_rng(0), lambda: iter([]), 100, surrogate)
        asked = distances(problem, next(auto(problem)))
        assert (np.diff(asked) >= 0).all()
        counts.append(len(asked))
    assert counts[1] == counts[0] + len(TransferParameters().lengths)
