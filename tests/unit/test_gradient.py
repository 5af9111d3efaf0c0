"""The attacks on models whose worst case is known in closed form: a linear one, and one that abstains."""

from dataclasses import replace
from math import inf

import pytest
import torch

from attack.draws import Draws
from attack.gradient.apgd import APGD, _Ascent, apgd, checkpoints
from attack.gradient.balls import lengths, project, random_point, steepest
from attack.gradient.objective import Attacked, objective, split
from attack.gradient.pgd import PGD, pgd
from attack.gradient.pool import run_pooled
from attack.gradient.spsa import SPSA, spsa
from attack.gradient.square import Square, square

pytestmark = pytest.mark.unit
SIDE = 6
EPSILON = 16 / 255
SEEDS = [4, 5, 6, 7]


class Linear:
    """Logits (w . x, 0): the margin of label 1 is w . x, of label 0 the opposite."""

    def __init__(self, seed=0):
        self.weights = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
        self.pictures = 0

    def __call__(self, x):
        self.pictures += len(x)
        score = (x * self.weights).sum(dim=(1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], dim=1)


@pytest.fixture
def linear():
    return Linear()


@pytest.fixture
def x():
    return torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def y():
    return torch.tensor([0, 1, 0, 1])


def worst_l_inf(model, x, y):
    """Each value goes as far as the ball and [0, 1] let it."""
    sign = (model.weights.sign() * (2 * y - 1).view(-1, 1, 1, 1)).float()
    return objective(model((x + EPSILON * sign).clamp(0, 1)), y)


def in_ball(found, x, epsilon, norm):
    offset = found - x
    size = offset.abs().amax(dim=(1, 2, 3)) if norm == "l_inf" else lengths(offset).flatten()
    return bool((size <= epsilon * 1.0001).all()) and float(found.min()) >= 0 and float(found.max()) <= 1


@pytest.mark.parametrize("attack", [lambda *a: pgd(*a, PGD(steps=20)), lambda *a: apgd(*a, APGD(steps=20))])
def test_l_inf_reaches_the_closed_form(attack, linear, x, y):
    found = attack(linear, x, y, SEEDS)
    torch.testing.assert_close(found.objective, worst_l_inf(linear, x, y), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.objective, objective(linear(found.x), y))
    assert in_ball(found.x, x, EPSILON, "l_inf")


@pytest.mark.parametrize(
    "attack", [lambda *a: pgd(*a, PGD("l_2", 0.3, 100, relative_step=20)), lambda *a: apgd(*a, APGD("l_2", 0.3, 60))]
)
def test_l_2_reaches_the_closed_form(attack, linear, y):
    x = torch.full((4, 3, SIDE, SIDE), 0.5)
    found = attack(linear, x, y, SEEDS)
    reachable = objective(linear(x), y) + 0.3 * linear.weights.norm()
    torch.testing.assert_close(found.objective, reachable, rtol=1e-3, atol=1e-3)
    assert in_ball(found.x, x, 0.3, "l_2")


def test_apgd_by_cross_entropy_reaches_the_closed_form(linear, x, y):
    found = apgd(linear, x, y, SEEDS, APGD(steps=30, loss="cross_entropy"))
    torch.testing.assert_close(found.objective, worst_l_inf(linear, x, y), rtol=1e-3, atol=1e-3)


def test_apgd_judges_progress_where_the_paper_says():
    # p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 (section 3.1)
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]


def test_apgd_halves_its_step_and_beats_plain_pgd_on_a_narrow_ridge():
    """A curved ridge: a fixed long step jumps over it for ever, steps that are halved climb it."""

    def ridge(x):
        along, across = x[:, 0].mean(dim=(1, 2)), x[:, 1].mean(dim=(1, 2))
        height = along - 400 * (across - 0.5 - 2 * (along - 0.5) ** 2) ** 2
        return torch.stack([height, torch.zeros_like(height)], dim=1)

    x, y = torch.full((1, 3, SIDE, SIDE), 0.5), torch.tensor([1])
    plain = pgd(ridge, x, y, [0], PGD(epsilon=0.2, steps=50, relative_step=20))
    auto = apgd(ridge, x, y, [0], APGD(epsilon=0.2, steps=50))
    assert float(auto.objective) > float(plain.objective) + 0.01


def test_square_reaches_most_of_the_closed_form(linear, x, y):
    clean, worst = objective(linear(x), y), worst_l_inf(linear, x, y)
    linear.pictures = 0
    found = square(linear, x, y, SEEDS, Square(queries=2000))
    assert linear.pictures == 2000 * len(x)
    assert bool(((found.objective - clean) / (worst - clean) > 0.8).all())
    assert in_ball(found.x, x, EPSILON, "l_inf")


def test_squares_shrink_as_in_the_paper():
    settings = Square(queries=10_000, first_share=0.8)
    sides = [settings.side(query, 100) for query in (1, 11, 51, 201, 8001)]
    assert sides == [89, 63, 45, 32, 4]


def spsa_result(model, x, y, settings, batch=200, seed=0):
    tasks = [
        (index, spsa(picture, int(label), torch.Generator().manual_seed(seed + index), settings))
        for index, (picture, label) in enumerate(zip(x, y, strict=True))
    ]
    results = dict(run_pooled(iter(tasks), model, batch))
    return torch.stack([results[index] for index in range(len(x))])


def test_spsa_reaches_most_of_the_closed_form(linear, x, y):
    settings = SPSA(stop_below=-1000)
    found = spsa_result(linear, x, y, settings)
    clean, worst = objective(linear(x), y), worst_l_inf(linear, x, y)
    assert bool(((objective(linear(found), y) - clean) / (worst - clean) > 0.9).all())
    assert in_ball(found, x, EPSILON, "l_inf")
    assert settings.passes == 13_000  # 200 x 64 samples, and one look a step


def test_spsa_stops_below_the_margin_of_minus_one(x, y):
    weak = Linear()
    weak.weights *= 3
    found = spsa_result(weak, x, y, SPSA())
    assert bool((objective(weak(found), y) > 1).all())
    assert weak.pictures < 4 * SPSA().passes / 4


def test_spsa_estimates_the_gradient_of_a_linear_model(linear, x):
    """With samples in plenty, the first step of Adam goes along the sign of the gradient."""
    task = spsa(x[0], 1, torch.Generator().manual_seed(0), SPSA(samples=8192))
    before = next(task)
    after = task.send(linear(before))
    step = after[-1] - before[-1]
    lowers = -linear.weights.sign() * -1  # label 1: right - wrong = -(w . x), so w . x must rise
    free = step.abs() > 1e-6
    agree = (step.sign() == lowers)[free].float().mean()
    assert float(agree) > 0.95
    torch.testing.assert_close(step[free].abs().max(), torch.tensor(0.01), rtol=1e-3, atol=1e-5)


def test_spsa_samples_are_mirrored_at_the_point(linear, x):
    pictures = next(spsa(x[0], 1, torch.Generator().manual_seed(0), SPSA()))
    assert pictures.shape == (65, 3, SIDE, SIDE)
    torch.testing.assert_close((pictures[:32] + pictures[32:64]) / 2, pictures[-1].expand(32, -1, -1, -1))
    torch.testing.assert_close((pictures[:32] - pictures[-1]).abs(), torch.full((32, 3, SIDE, SIDE), 0.01))


def test_a_picture_is_attacked_alike_in_any_company(linear, x, y):
    for attack in (
        lambda *a: pgd(*a, PGD(steps=5, restarts=2)),
        lambda *a: apgd(*a, APGD(steps=5)),
        lambda *a: square(*a, Square(queries=20)),
    ):
        together = attack(linear, x, y, SEEDS)
        alone = attack(linear, x[2:3], y[2:3], SEEDS[2:3])
        torch.testing.assert_close(together.x[2:3], alone.x)
    torch.testing.assert_close(
        spsa_result(linear, x, y, SPSA(steps=5)), spsa_result(linear, x, y, SPSA(steps=5), batch=1)
    )


def test_an_abstaining_model_is_beaten_only_by_a_confident_mistake():
    logits = torch.tensor([[1.0, 2.0], [1.0, 5.0], [5.0, 2.0], [3.0, 3.0]])
    y = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(objective(logits, y), torch.tensor([1.0, 4.0, -3.0, 0.0]))
    torch.testing.assert_close(objective(logits, y, abstain_below=4.0), torch.tensor([-2.0, 1.0, -3.0, -1.0]))
    right, wrong = split(logits, y)
    assert (right.tolist(), wrong.tolist()) == ([1, 1, 5, 3], [2, 5, 2, 3])


def test_pgd_raises_the_confidence_once_the_answer_is_wrong(x):
    """Both logits depend on the picture: the margin alone is content with a mistake that the model abstains on."""
    weights = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))

    def model(x):
        score = (x * weights).sum(dim=(1, 2, 3))
        brightness = x.mean(dim=(1, 2, 3)) * 100
        return torch.stack([brightness - score, brightness + score], dim=1)

    y = torch.zeros(4, dtype=torch.long)
    settings = PGD(steps=40, epsilon=0.3)
    plain = model(pgd(model, x, y, SEEDS, settings).x)
    confident = model(pgd(model, x, y, SEEDS, settings, abstain_below=1000.0).x)
    assert bool((confident.max(dim=1).values > plain.max(dim=1).values + 1).all())


def test_restarts_help_on_two_hills():
    """A low hill near the picture, a high one at the far end: a lucky start finds the second."""

    def hills(x):
        place = x.mean(dim=(1, 2, 3))
        low, high = 0.5 - 40 * (place - 0.5).abs(), 1.0 - 40 * (place - 0.522).abs()
        return torch.stack([low.maximum(high), torch.zeros_like(low)], dim=1)

    x, y = torch.full((8, 3, 2, 2), 0.5), torch.ones(8, dtype=torch.long)
    once = pgd(hills, x, y, range(8), PGD(epsilon=0.05, steps=10, relative_step=0.5))
    often = pgd(hills, x, y, range(8), PGD(epsilon=0.05, steps=10, relative_step=0.5, restarts=10))
    assert float(often.objective.mean()) > float(once.objective.mean())
    assert bool((often.objective >= once.objective).all())


@pytest.mark.parametrize("norm", ["l_inf", "l_2"])
def test_balls(norm):
    x = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    far = x + torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(4))
    assert in_ball(project(far, x, 0.1, norm), x, 0.1, norm)
    assert in_ball(random_point(x, 0.1, norm, Draws(range(5))), x, 0.1, norm)
    torch.testing.assert_close(project(x, x, 0.1, norm), x)
    gradient = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    size = steepest(gradient, norm)
    unit = size.abs().amax(dim=(1, 2, 3)) if norm == "l_inf" else lengths(size).flatten()
    torch.testing.assert_close(unit, torch.ones(5))


def test_gradients_of_zero_do_no_harm():
    def flat(x):
        return (x * 0).sum(dim=(2, 3))[:, :2]

    x = torch.full((1, 3, 4, 4), 0.5)
    assert torch.isfinite(pgd(flat, x, torch.tensor([0]), [0], PGD("l_2", 1.0, 3)).x).all()


class Sickly(Linear):
    """Answers every `nth` time it is asked with no number, and notes whether what it is shown is one."""

    def __init__(self, nth, start=0):
        super().__init__()
        self.nth, self.asked, self.finite = nth, start, True

    def __call__(self, x):
        self.asked += 1
        self.finite &= bool(x.isfinite().all())
        logits = super().__call__(x)
        return logits * torch.nan if self.asked % self.nth == 0 else logits


@pytest.mark.parametrize(
    "attack",
    [
        lambda *a: pgd(*a, PGD(steps=40)),
        lambda *a: apgd(*a, APGD(steps=40)),
        lambda *a: apgd(*a, APGD(steps=40, loss="cross_entropy")),
        lambda *a: square(*a, Square(queries=1000)),
    ],
)
@pytest.mark.parametrize("start", [0, 6])  # 6: the first answer is no number
def test_an_answer_that_is_not_finite_does_not_end_a_search(attack, start, x, y):
    sickly = Sickly(7, start)
    found = attack(sickly, x, y, SEEDS)
    clean, worst = objective(Linear()(x), y), worst_l_inf(Linear(), x, y)
    assert sickly.finite
    assert bool(((found.objective - clean) / (worst - clean) > 0.7).all())
    assert in_ball(found.x, x, EPSILON, "l_inf")


@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_the_best_point_of_an_ascent_is_never_one_whose_loss_is_not_finite(loss, x, y):
    ascent = _Ascent(Sickly(1), x, y, APGD(loss=loss), -inf)
    found, gradient, _ = ascent._evaluate(x, Attacked(x, torch.full((len(x),), -inf)))
    assert found.tolist() == [-inf] * len(x)
    assert not gradient.any()


@pytest.mark.parametrize("attack", [lambda *a: pgd(*a, PGD("l_2", 0.3)), lambda *a: apgd(*a, APGD("l_2", 0.3))])
def test_a_gradient_that_is_not_finite_moves_nothing(attack, x, y):
    sickly = Sickly(7)
    found = attack(sickly, x, y, SEEDS)
    assert sickly.finite
    assert in_ball(found.x, x, 0.3, "l_2")


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 3e38])
def test_spsa_goes_on_without_the_answers_that_are_not_finite(broken, x, y):
    """One of the samples, one of another pair's halves and, now and then, the point itself."""

    class Broken(Linear):
        def __call__(self, x):
            assert x.isfinite().all()
            logits = super().__call__(x)
            logits[3, 0], logits[41] = broken, torch.tensor([-broken, broken])
            if self.pictures % (65 * 7) == 0:
                logits[-1] = torch.nan
            return logits

    model = Broken()
    found = spsa_result(model, x, y, SPSA(stop_below=-1000), batch=1)
    clean, worst = objective(Linear()(x), y), worst_l_inf(Linear(), x, y)
    assert bool(((objective(Linear()(found), y) - clean) / (worst - clean) > 0.9).all())
    assert in_ball(found, x, EPSILON, "l_inf")


def test_the_pool_fills_batches_and_starts_the_next_task_when_one_ends():
    sizes, started = [], []

    def task(questions):
        started.append(questions)
        total = 0.0
        for _ in range(questions):
            logits = yield torch.ones(4, 3, 2, 2)
            total += float(logits.sum())
        return total

    def model(x):
        sizes.append(len(x))
        return x[:, :2, 0, 0]

    results = dict(run_pooled(((n, task(n)) for n in (1, 2, 3, 1, 1)), model, batch=8))
    assert sorted(results.items()) == [(1, 8.0), (2, 16.0), (3, 24.0)]
    assert sizes == [8, 8, 8, 8]  # 8 questions of 4 pictures, two at a time
    assert started == [1, 2, 3, 1, 1]


def test_parameters_are_the_kits():
    assert replace(SPSA()) == SPSA(16 / 255, 200, 64, 0.01, 0.01, -1.0)
