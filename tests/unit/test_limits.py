"""API keys and rate limits."""

from pathlib import Path

import pytest
from starlette.datastructures import Headers

from model.errors import ConfigError
from server.limits import MAX_CALLERS, Admission, Keys, RateLimiter, given_key, make_key
from server.problems import RateLimited, Unauthorized, Unavailable

pytestmark = pytest.mark.unit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_keys_are_hashed_at_rest_and_found(tmp_path: Path) -> None:
    made = {name: make_key(name) for name in ("ann", "bob")}
    file = tmp_path / "keys"
    file.write_text("# who may ask\n" + "\n".join(line for _, line in made.values()) + "\n")
    keys = Keys.read(file)
    for name, (key, line) in made.items():
        assert keys.name_of(key) == name
        assert key not in line
        assert len(key) > 40
    for wrong in ("", "tb_", made["ann"][0][:-1], made["ann"][0] + "a", "\udcff"):
        assert keys.name_of(wrong) is None


@pytest.mark.parametrize("line", ["ann", "ann:123", f":{'0' * 64}", f"ann:{'G' * 64}", f"ann:{'0' * 65}"])
def test_a_bad_keys_file_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(f"# x\n{line}\n")
    with pytest.raises(ConfigError, match="keys, line 2"):
        Keys.read(tmp_path / "keys")
    with pytest.raises(ConfigError, match="gone"):
        Keys.read(tmp_path / "gone")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "#a", "a\n"])
def test_names_of_keys(name: str) -> None:
    with pytest.raises(ConfigError):
        make_key(name)


def test_where_a_key_is_looked_for() -> None:
    assert given_key(Headers({"authorization": "bearer  abc"})) == "abc"
    assert given_key(Headers({"x-api-key": "abc"})) == "abc"
    assert given_key(Headers({"authorization": "Basic abc"})) == ""
    assert given_key(Headers({})) == ""


def test_the_bucket_fills_with_time() -> None:
    clock = Clock()
    limiter = RateLimiter(rate_per_s=2, burst=5, clock=clock)
    for _ in range(5):
        limiter.take("ann", 1)
    with pytest.raises(RateLimited) as refusal:
        limiter.take("ann", 4)
    assert refusal.value.retry_after_s == 2
    limiter.take("bob", 5)
    clock.now += 2
    limiter.take("ann", 4)
    with pytest.raises(RateLimited):
        limiter.take("ann", 1)
    clock.now += 1000
    limiter.take("ann", 5)
    with pytest.raises(RateLimited):
        limiter.take("ann", 1)


def test_no_limit() -> None:
    RateLimiter(rate_per_s=0, burst=1).take("ann", 10**9)


def test_callers_are_forgotten_rather_than_piled_up() -> None:
    limiter = RateLimiter(rate_per_s=1, burst=1, clock=Clock())
    for number in range(MAX_CALLERS + 50):
        limiter.take(str(number), 1)
    assert len(limiter._buckets) == MAX_CALLERS
    with pytest.raises(RateLimited):
        limiter.take(str(MAX_CALLERS + 49), 1)


def test_a_full_server_costs_nothing() -> None:
    limiter = RateLimiter(rate_per_s=1, burst=10, clock=Clock())
    admission = Admission(None, limiter)

    def refused() -> None:
        with admission.charge("ann") as charge:
            charge.more(9)
            raise Unavailable("full")

    with pytest.raises(Unavailable):
        refused()
    with admission.charge("ann") as charge:
        charge.more(9)
    with pytest.raises(RateLimited), admission.charge("ann"):
        pass


def test_callers_have_names_or_addresses() -> None:
    key, line = make_key("ann")
    name, digest = line.split(":")
    closed = Admission(Keys({bytes.fromhex(digest): name}), RateLimiter(0, 1))
    assert closed.caller(Headers({"x-api-key": key}), "1.2.3.4") == "ann"
    with pytest.raises(Unauthorized):
        closed.caller(Headers({}), "1.2.3.4")
    assert Admission(None, RateLimiter(0, 1)).caller(Headers({}), "1.2.3.4") == "1.2.3.4"
