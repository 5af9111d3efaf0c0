"""The synthetic pictures: same seed, same bytes; their geometry; and that only the figure tells the classes apart."""

import hashlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from train.synthetic import render, scene
from train.synthetic.bicycle_kinds import KINDS as BICYCLES
from train.synthetic.bird_coats import COATS
from train.synthetic.bird_kinds import KINDS as BIRDS
from train.synthetic.chance import jitter
from train.synthetic.figure import Ball, Figure
from train.synthetic.frames import joints
from train.synthetic.geometry import curve, heading, looking, turn
from train.synthetic.layer import Layer
from train.synthetic.solids import Light, Solid, chain, plain
from train.synthetic.writer import picture_seed

pytestmark = pytest.mark.unit
LIGHT = Light(np.array([0.6, 0.0, 0.8]), 0.3)
FRONT = looking(0, 0, 0, False, 50)


@pytest.mark.parametrize("size", [32, 97])
@pytest.mark.parametrize("label", [0, 1])
def test_a_picture_has_the_asked_shape_and_uses_its_range(label: int, size: int) -> None:
    pixels = render(label, 5, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 8


def test_the_seed_alone_fixes_the_bytes() -> None:
    before = render(1, 11, 48)
    np.random.seed(3)
    render(0, 4, 32)
    assert np.array_equal(render(1, 11, 48), before)
    assert not np.array_equal(render(1, 12, 48), before)
    assert not np.array_equal(render(0, 11, 48), before)


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        "import hashlib; from train.synthetic import render;"
        "print(hashlib.sha256(b''.join(render(k % 2, k, 40).tobytes() for k in range(6))).hexdigest())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = hashlib.sha256(b"".join(render(k % 2, k, 40).tobytes() for k in range(6))).hexdigest()
    assert result.stdout.strip() == here


def test_every_picture_of_a_set_has_a_seed_of_its_own() -> None:
    seeds = {picture_seed(s, label, index) for s in range(4) for label in range(2) for index in range(50)}
    assert len(seeds) == 4 * 2 * 50


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], Figure]:
    """The figure of a picture as it was placed in the scene."""
    seen: list[Figure] = []
    compose = scene._composed
    monkeypatch.setattr(scene, "_composed", lambda figure, *rest: (seen.append(figure), compose(figure, *rest))[1])

    def figure(label: int, seed: int) -> Figure:
        render(label, seed, 32)
        return seen[-1]

    return figure


@pytest.mark.parametrize("label", [0, 1])
def test_figures_are_large_and_inside_the_picture(label: int, composed: Callable[[int, int], Figure]) -> None:
    for seed in range(24):
        box = composed(label, seed).painted(200, LIGHT).image.getchannel("A").getbbox()
        assert box is not None
        left, top, right, bottom = box
        assert max(right - left, bottom - top) >= 0.5 * 200, seed
        assert min(left, top, 200 - right, 200 - bottom) >= 1, seed


def test_an_obstacle_that_hides_too_much_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(rng: np.random.Generator, side: int) -> Layer:
        layer = Layer(side)
        layer.polygon([(0, 0), (1, 0), (1, 1), (0, 1)], (9, 9, 9))
        return layer

    drawn, picture = Layer(64), Image.new("RGB", (64, 64), "white")
    drawn.disc((0.5, 0.5), 0.3, (200, 0, 0))
    rng = np.random.default_rng(0)
    monkeypatch.setattr(scene, "obstacle", whole)
    scene._obstruct(picture, drawn, (0.5, 0.5, 0.1), 64, rng)
    assert picture.getextrema() == ((255, 255),) * 3
    monkeypatch.setattr(scene, "MOST_HIDDEN", 1.0)
    monkeypatch.setattr(scene, "MOST_HIDDEN_OF_HEAD", 1.0)
    scene._obstruct(picture, drawn, (0.5, 0.5, 0.1), 64, rng)
    assert picture.getextrema() == ((9, 9),) * 3


@pytest.mark.parametrize(("behind", "changes"), [(30, True), (200, False)])
def test_a_figure_that_would_be_lost_is_set_off(behind: int, changes: bool) -> None:
    drawn, picture = Layer(64), Image.new("RGB", (64, 64), (behind,) * 3)
    drawn.disc((0.5, 0.5), 0.3, (35, 35, 35))
    toned = scene._set_off(picture, drawn).getpixel((1, 1))
    assert isinstance(toned, tuple)
    assert (toned[0] != behind) is changes
    assert abs(toned[0] - 35) >= scene.LEAST_CONTRAST


@pytest.mark.parametrize("name", list(BICYCLES))
def test_frames_stand_on_both_wheels_with_a_wheelbase_of_that_kind(name: str) -> None:
    kind = BICYCLES[name]
    at = joints(kind, 30)
    assert (at.rear_hub[1], at.front_hub[1]) == pytest.approx((kind.wheel, kind.wheel))
    assert np.hypot(*(at.bracket - at.rear_hub)[:2]) == pytest.approx(kind.chainstay)
    between_tyres = at.front_hub[0] - at.rear_hub[0] - 2 * kind.wheel
    assert 0 < between_tyres < 0.65
    assert at.saddle[1] > at.bracket[1] + 0.3
    axis = at.head_top - at.head_low
    assert at.steered(at.head_low[None])[0] == pytest.approx(at.head_low)
    assert np.degrees(np.arctan2(axis[1], -axis[0])) == pytest.approx(kind.head_angle)


def test_every_bird_wears_coats_that_exist() -> None:
    assert {coat for kind in BIRDS.values() for coat in kind.coats} == set(COATS)


def test_a_curve_passes_through_its_knots() -> None:
    knots = np.array([[0.0, 1, 0], [1, 3, 0], [2, 0, 1], [4, 1, 1]])
    assert curve(knots, 31)[::10] == pytest.approx(knots)


def test_turn_keeps_lengths_and_its_axis() -> None:
    rotation = turn((1, 2, 2), 73)
    assert rotation @ rotation.T == pytest.approx(np.eye(3))
    assert rotation @ np.array([1, 2, 2]) == pytest.approx([1, 2, 2])
    assert turn((0, 0, 1), 90) @ np.array([1, 0, 0]) == pytest.approx([0, 1, 0])
    assert heading(30) == pytest.approx([np.sqrt(3) / 2, 0.5, 0])


def test_the_camera_sees_near_things_larger_and_from_where_it_stands() -> None:
    view = looking(0, 0, 0, False, 4)
    near, far = view.magnification(np.array([[0, 0, 1.0], [0, 0, -1.0]]))
    assert near == pytest.approx(4 / 3)
    assert far == pytest.approx(4 / 5)
    assert looking(90, 0, 0, False, 4).camera(np.array([[1.0, 0, 0]]))[0] == pytest.approx([0, 0, 1])
    assert looking(0, 30, 0, False, 4).camera(np.array([[0, 1.0, 0]]))[0][2] > 0


def test_fitted_fills_the_box() -> None:
    points, radii = np.array([[0.0, 0, 0], [2, 1, 0.5], [1, 3, -1]]), np.array([0.1, 0.3, 0.2])
    view = looking(20, 10, 5, True, 6).fitted(points, radii, (0.2, 0.1, 0.5, 0.6))
    seen, reach = view.project(points), radii * view.magnification(points)
    assert (seen[:, 1] + reach).max() == pytest.approx(0.7)
    assert (seen[:, 1] - reach).min() == pytest.approx(0.1)
    assert (seen[:, 0] + reach).max() + (seen[:, 0] - reach).min() == pytest.approx(2 * 0.45)


def test_a_ball_is_round_and_lit_from_the_light() -> None:
    middle = np.zeros(3)
    ball = Solid([chain([middle, [0, 0, 0.001]], [1, 1], plain((200, 100, 50)), 2)])
    view = FRONT.fitted(*ball.extent(), (0.1, 0.1, 0.8, 0.8))
    layer = Layer(100)
    ball.paint(layer, view, LIGHT)
    alpha = layer.alpha() > 0
    assert alpha.sum() == pytest.approx(np.pi * 40**2, rel=0.03)
    row = np.asarray(layer.image)[50, :, 0].astype(int)
    assert row[75] > row[50] > row[20] > 0


def test_a_cone_of_balls_is_smooth() -> None:
    """Without the cone's normals every ball shows as a ridge: the brightness along the axis would go up and down."""
    cone = Solid([chain([(0, 0, 0), (4, 0, 0)], [1, 0.6], plain((120, 120, 120)), 14)])
    layer = Layer(300)
    cone.paint(layer, FRONT.fitted(*cone.extent(), (0.02, 0.1, 0.96, 0.8)), LIGHT)
    row = int(np.flatnonzero(layer.alpha()[:, 150]).mean())
    axis = np.asarray(layer.image)[row, 100:200, 0].astype(int)
    assert axis.min() > 50
    assert np.ptp(axis) <= 3


def test_near_parts_cover_far_parts() -> None:
    near, far = Ball(np.array([0, 0, 1.0]), 1, (255, 0, 0)), Ball(np.array([0, 0, -1.0]), 1, (0, 0, 255))
    figure = Figure([near, far], FRONT, "air").fitted((0, 0, 1, 1))
    red, _, blue, _ = np.asarray(figure.painted(50, LIGHT).image)[25, 25]
    assert red > blue


def test_thin_lines_let_the_ground_through() -> None:
    layer = Layer(50)
    layer.polygon([(0, 0), (1, 0), (1, 1), (0, 1)], (0, 0, 0))
    layer.thin_lines(np.array([[[0.0, 0.5], [1.0, 0.5]]]), 0.6 / 50, [(200, 200, 200)])
    assert np.asarray(layer.image)[25, 10, 0] == pytest.approx(120, abs=3)


def test_jitter_stays_near() -> None:
    rng = np.random.default_rng(0)
    moved = np.array([jitter(rng, (120, 90, 60)) for _ in range(200)])
    assert np.abs(moved - (120, 90, 60)).max() < 60
    assert len(np.unique(moved, axis=0)) > 150
