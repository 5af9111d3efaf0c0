"""The submission check's parts: rules, findings, pictures, and the tell-tale test."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from attack.check.behaviour import _companies, _rate
from attack.check.bounded import bounded_client
from attack.check.findings import Finding, Report, Unfit, joined
from attack.check.hostile import _bomb, _npy_header
from attack.check.leaks import Told, _step, _telling
from attack.check.rules import Rules, read_rules
from attack.check.samples import image_file, take_samples
from attack.check.shares import Share, judge
from attack.check.subject import is_loopback
from model.errors import ConfigError, DataError

pytestmark = pytest.mark.unit


def test_named_rules_differ_in_the_rate_alone():
    contest, warm_up = read_rules("contest"), read_rules("warm-up")
    assert contest.min_images_per_s == pytest.approx(1 / 60)
    assert warm_up == contest.model_copy(update={"min_images_per_s": 100})


def test_rules_come_from_a_file(tmp_path):
    (tmp_path / "rules.toml").write_text("memory_mib = 512\nmin_accuracy = 1.0\n")
    assert read_rules(str(tmp_path / "rules.toml")) == Rules(memory_mib=512, min_accuracy=1.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("memory = 512", "memory: unknown key"),
        ("max_abstain = 2", "max_abstain: Input should be less"),
        ("cpus = true", "cpus: Input should be a valid number"),
        ("= 3", "no TOML"),
    ],
)
def test_a_mistake_in_the_rules_names_the_field(tmp_path, text, reason):
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_rules(str(tmp_path / "rules.toml"))


def test_a_report_is_fit_when_something_passed_and_nothing_failed():
    report = Report("image", Rules())
    assert not report.fit
    report.findings.append(Finding("memory", "skip", "a URL"))
    assert not report.fit
    report.findings.append(Finding("api", "pass", "as it should", {"n": 1.0}))
    assert report.fit
    assert report.verdict() == "fit  image: 1 passed, 0 failed, 1 skipped"
    report.findings.append(Finding("user", "fail", "runs\nas root"))
    assert not report.fit
    assert report.findings[-1].line() == "fail  user: runs as root"
    assert json.loads(json.dumps(report.as_json()))["findings"][1]["figures"] == {"n": 1.0}


def test_patterns_are_many_pictures_and_the_same_each_time():
    first, again = take_samples(None, None, 48), take_samples(None, None, 48)
    assert first.photos == ()
    assert first.pixels.shape == (8, 48, 48, 3)
    assert np.array_equal(first.pixels, again.pixels)
    assert len({picture.tobytes() for picture in first.pixels}) == 8


def test_photos_need_their_folders(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        take_samples(tmp_path, None, 32)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WebP"])
def test_a_file_keeps_every_pixel(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image_file(pixels, kind)))), pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_files_of_one_size_have_one_length(kind):
    """So that a count of bytes is no leak."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    assert len(image_file(noise, kind)) == len(image_file(np.zeros_like(noise), kind))


def test_the_bomb_is_a_small_file_of_a_huge_and_valid_picture():
    bomb = _bomb(4000)
    with Image.open(io.BytesIO(bomb)) as picture:
        picture.load()
        assert (picture.size, picture.mode) == ((4000, 4000), "1")
    assert len(bomb) < 4000


def test_the_hostile_npy_header_claims_its_shape():
    header = io.BytesIO(_npy_header((10**6, 10**6, 3)))
    assert np.lib.format.read_magic(header) == (1, 0)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(header)
    assert (shape, fortran, dtype) == ((10**6, 10**6, 3), False, np.dtype(np.uint8))


def told(*values, labels="bird"):
    """What two pictures told in turn, as rounds of (first, second)."""
    names = [labels, labels] if isinstance(labels, str) else labels
    return [Told(i, names[i], {"x": value}) for pair in values for i, value in enumerate(pair)]


@pytest.mark.parametrize(
    ("values", "tells"),
    [
        ([("0.9", "0.2")] * 3, True),
        ([("7", "7")] * 3, False),  # the same for both
        ([("1", "2"), ("3", "4"), ("5", "6")], False),  # a counter follows the time, not the picture
        ([("a", "b"), ("a", "c"), ("a", "d")], False),  # one value by chance
    ],
)
def test_a_value_tells_when_it_follows_the_picture(values, tells):
    assert _telling(told(*values), "bird") == ({"x"} if tells else set())


def test_what_follows_the_label_tells_nothing_new():
    assert _telling(told(*[("1", "0")] * 3, labels=["bird", "bicycle"]), "bird") == set()


def test_the_step_of_a_sum_is_what_was_added():
    assert _step("1000.25", "1100.5") == _step("7", "107.25") == "100.25"
    assert _step(None, "3") == "3"
    assert _step("1", "no number") == "no number"


def test_by_the_count_on_all_photos_beyond_chance_on_a_draw():
    at, over = Share(4, 20), Share(5, 20)
    assert judge(at, "abstained", 0.2, upper=True) == (
        "4 of 20 abstained (20.0%, 95% interval 8.1% to 41.6%; at most 20%)"
    )
    with pytest.raises(Unfit, match="beyond the bound by the count, though perhaps by chance"):
        judge(over, "abstained", 0.2, upper=True)
    assert judge(Share(5, 20, drawn=True), "abstained", 0.2, upper=True).endswith("all photos would tell")
    with pytest.raises(Unfit, match=r"100 of 400 .* at most 20%\)$"):
        judge(Share(100, 400, drawn=True), "abstained", 0.2, upper=True)


def test_the_least_share_is_judged_the_same_way():
    assert judge(Share(9, 10), "right", 0.9, upper=False).endswith("at least 90%)")
    with pytest.raises(Unfit, match="by chance"):
        judge(Share(89, 100), "right", 0.9, upper=False)
    judge(Share(89, 100, drawn=True), "right", 0.9, upper=False)
    with pytest.raises(Unfit, match="50 of 100"):
        judge(Share(50, 100, drawn=True), "right", 0.9, upper=False)


def test_a_limit_makes_a_draw(tiny_photos):
    assert take_samples(tiny_photos / "val", 4, 32).drawn
    assert not take_samples(tiny_photos / "val", 1000, 32).drawn
    assert not take_samples(tiny_photos / "val", None, 32).drawn


def test_many_faults_are_told_by_their_first():
    assert joined(["a", "b"]) == "a; b"
    assert joined(list("abcde")) == "a; b; c; and 2 more"


@pytest.mark.parametrize(("n", "size"), [(2, 2), (8, 8), (64, 16), (40, 1)])
def test_companies_fill_batches_with_known_photos(n, size):
    for company in _companies(n, size):
        assert 1 <= len(company) <= size
        assert set(company) <= set(range(n))
    assert any(company.count(0) == len(company) == size for company in _companies(n, size)), "no batch of copies"


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_this_machines_own_addresses(host, here):
    assert is_loopback(host) is here


def test_rates_read_well():
    assert [_rate(12345.6), _rate(3.28), _rate(1 / 60)] == ["12,346 images/s", "3.3 images/s", "1 images/min"]


def test_a_check_asks_for_no_packing_that_it_would_not_unpack(monkeypatch):
    monkeypatch.setattr("httpx._client.ACCEPT_ENCODING", "gzip, deflate, br, zstd")  # as where these are installed
    with bounded_client("http://toy", 1.0, {"A": "b"}, straight=True) as client:
        assert (client.headers["Accept-Encoding"], client.headers["A"]) == ("gzip, deflate", "b")
