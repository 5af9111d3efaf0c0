"""The clients against a toy endpoint: batches, faults, refusals; and endpoints that a TOML describes."""

import asyncio
import base64
import gzip
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from attack.results import png_bytes
from attack.wire import outage
from attack.wire.async_client import AsyncClient
from attack.wire.client import Client
from attack.wire.foreign import Endpoint, ForeignClient, read_endpoint
from attack.wire.messages import DEFAULT_BATCH
from attack.wire.retry import RetryPolicy, retry_after_s
from model.errors import ConfigError, EndpointError, ImageError, RefusedError
from model.pixels import load_square
from tests.toy_endpoint import brightness_rule, serving

SIDE = 16
IMPATIENT = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.05, patience_s=0.4)
FAST = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.05)
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Ten pictures, every other one bright."""
    levels = np.arange(10) % 2 * 100 + 60
    noise = np.random.default_rng(0).integers(0, 60, (10, SIDE, SIDE, 3))
    return (noise + levels[:, None, None, None]).astype(np.uint8)


LABELS = ["bicycle", "bird"] * 5


def test_batches_keep_to_the_endpoints_limit(pixels):
    with serving(brightness_rule, SIDE, max_batch=4) as server, Client(server.url) as client:
        assert client.predict_batch(pixels) == LABELS
        assert sorted(server.batches) == [2, 4, 4]
        assert client.labels_in_turn(pixels) == LABELS
        assert server.batches[3:] == [4, 4, 2]


def test_batches_go_side_by_side_as_many_as_the_endpoint_bears(pixels):
    with serving(brightness_rule, SIDE, max_batch=1, delay_s=0.02) as server, Client(server.url) as client:
        many = np.concatenate([pixels] * 4)
        assert client.predict_batch(many[:2]) == LABELS[:2]
        assert server.most_in_flight == 2, "so many slots it begins with"
        assert client.predict_batch(many) == LABELS * 4
        assert 2 < server.most_in_flight <= client.pace.max_slots


def test_no_request_is_larger_than_a_few_megabytes():
    large = np.zeros((5, 1024, 1024, 3), np.uint8)
    with serving(brightness_rule, 1024) as server, Client(server.url) as client:
        assert client.predict_batch(large) == ["bicycle"] * 5
        assert server.batches == [1] * 5


def three_at_most(pixels: np.ndarray) -> list[str] | int:
    return 413 if len(pixels) > 3 else brightness_rule(pixels)


def test_requests_that_are_too_large_are_halved_and_stay_so(pixels):
    with serving(three_at_most, SIDE) as server, Client(server.url) as client:
        assert client.predict_batch(pixels) == LABELS
        assert (server.requests, server.batches, client.max_batch) == (2 + 5, [2] * 5, 2)
        assert client.predict_batch(pixels[:4]) == LABELS[:4]
        assert server.batches == [2] * 7


def test_the_async_client_halves_them_too(pixels):
    async def labels(url: str) -> list[str]:
        async with AsyncClient(url) as client:
            return await client.predict_batch(pixels)

    with serving(three_at_most, SIDE, max_batch=5) as server:
        assert asyncio.run(labels(server.url)) == LABELS
        assert server.pictures == len(pixels)


def test_a_picture_that_is_too_large_by_itself_is_refused(pixels):
    with serving(lambda _: 413, SIDE) as server, Client(server.url) as client:
        with pytest.raises(RefusedError, match="status 413"):
            client.predict_batch(pixels)
        assert (server.requests, server.pictures) == (4, 0)  # of 10, 5, 2, 1


def test_a_file_png_bytes_and_pixels_are_answered_alike(pixels, tmp_path):
    file = tmp_path / "picture.png"
    file.write_bytes(png_bytes(pixels[1]))
    with serving(brightness_rule, SIDE) as server, Client(server.url) as client:
        assert [client.predict(way) for way in (file, file.read_bytes(), pixels[1])] == ["bird"] * 3


@pytest.mark.parametrize("faults", [{"busy": 0.4}, {"reset": 0.4}, {"hang": 0.3}, {"drip": 0.3}])
def test_troubles_that_pass_are_not_the_callers(pixels, faults):
    with serving(brightness_rule, SIDE, max_batch=1, **faults) as server:
        server.hang_s = 0.3
        with Client(server.url, timeout_s=0.1, retry=FAST) as client:
            assert client.predict_batch(pixels) == LABELS
            assert client.pace.retries > 0


def test_the_async_client_does_the_same(pixels):
    async def labels(url: str) -> list[str]:
        async with AsyncClient(url, timeout_s=0.5, retry=FAST) as client:
            assert await client.predict(pixels[1]) == "bird"
            return await client.predict_batch(pixels)

    with serving(brightness_rule, SIDE, max_batch=2, busy=0.3, reset=0.2) as server:
        assert asyncio.run(labels(server.url)) == LABELS


def test_patience_ends(pixels):
    with serving(brightness_rule, SIDE) as server, Client(server.url, retry=IMPATIENT) as client:
        assert client.info.input_size == SIDE
        server.busy = 1.0
        with pytest.raises(EndpointError, match="status 503 after"):
            client.predict(pixels[0])


def test_nobody_there(capfd, monkeypatch):
    monkeypatch.setattr(outage, "NOBODY_S", 0.1)
    with (
        Client("http://127.0.0.1:9", retry=IMPATIENT) as client,
        pytest.raises(EndpointError, match=r"127.0.0.1:9.*ConnectError"),
    ):
        _ = client.info
    assert capfd.readouterr().err == "http://127.0.0.1:9: no connection, trying again for up to 0.4 s\n"


def _failing(troubles):
    """An endpoint that meets these troubles, statuses or errors, one a request; None is an answer."""

    def handle(request: httpx.Request) -> httpx.Response:
        trouble = next(troubles)
        if isinstance(trouble, Exception):
            raise trouble
        return httpx.Response(trouble or 200, json={"label": "bird"})

    return httpx.MockTransport(handle)


def test_an_endpoint_that_goes_and_comes_back_is_two_lines_each_time(pixels, capfd, monkeypatch):
    monkeypatch.setattr(outage, "NOBODY_S", 0.0)
    gone = httpx.ConnectError("refused")
    transport = _failing(iter([gone, gone, gone, None, None, gone, gone, None]))
    with Client("http://toy", retry=FAST, transport=transport) as client:
        for _ in range(3):
            client.predict(pixels[0])
    lines = ["http://toy: no connection, trying again for up to 300 s", "http://toy: answers again"]
    assert capfd.readouterr().err.splitlines() == 2 * lines


def test_connections_that_are_refused_in_passing_are_not_told(pixels, capfd):
    transport = _failing(iter([httpx.ConnectError("refused"), None] * 5))
    with Client("http://toy", retry=FAST, transport=transport) as client:
        for _ in range(5):
            client.predict(pixels[0])
    assert capfd.readouterr().err == ""


def test_troubles_that_pass_are_told_once_they_last(pixels, capfd, monkeypatch):
    for quiet_s, told in ((10.0, 0), (0.0, 2)):
        monkeypatch.setattr(outage, "QUIET_S", quiet_s)
        transport = _failing(iter([503, httpx.ReadTimeout("late"), 503, None]))
        with Client("http://toy", retry=FAST, transport=transport) as client:
            client.predict(pixels[0])
        lines = ["http://toy: status 503, trying again for up to 300 s", "http://toy: answers again"]
        assert capfd.readouterr().err.splitlines() == lines[:told]


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8000", "ftp://x", "http://", "http://:80", "", "http://h?x=1", "http://h/#f"),
        *("http://h:0", "http://h:65536", "http://xn--a", "http://h/\udcff"),
    ],
)
def test_a_url_that_is_none(url):
    with pytest.raises(ConfigError):
        Client(url)


def test_no_picture_and_no_file(tmp_path):
    with serving(brightness_rule, SIDE) as server, Client(server.url) as client:
        with pytest.raises(ImageError, match="No such file"):
            client.predict(tmp_path / "none.png")
        with pytest.raises(ImageError, match="not one of"):
            client.predict(tmp_path / "none.gif")


def test_busy_answers_slow_the_pace_down_and_good_ones_speed_it_up(pixels):
    with serving(brightness_rule, SIDE, max_batch=1) as server, Client(server.url, retry=FAST) as client:
        client.predict_batch(np.repeat(pixels, 6, axis=0))
        assert client.pace.slots == client.pace.max_slots
        server.busy = 0.9
        client.predict_batch(pixels)
        assert client.pace.slots < client.pace.max_slots


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"labels": ["bird"]}, "to 10 pictures"),
        ({"labels": ["cat"] * 10}, "expected one of"),
        ({"labels": [1] * 10}, "expected one of"),
        ({}, "to 10 pictures"),
        ([], "no JSON object"),
    ],
)
def test_what_is_no_answer_is_refused(pixels, answer, words):
    def handle(request: httpx.Request) -> httpx.Response:
        info = {"input_size": SIDE, "classes": ["bicycle", "bird"], "limits": {"max_batch": 64}}
        return httpx.Response(200, json=info if request.url.path == "/info" else answer)

    with (
        Client("http://toy", transport=httpx.MockTransport(handle)) as client,
        pytest.raises(EndpointError, match=words),
    ):
        client.predict_batch(pixels)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_label_that_is_none_does_not_spoil_the_others(side_by_side, pixels):
    def rule(some: np.ndarray) -> list[str]:
        return ["none" if (one == pixels[4]).all() else brightness_rule(one[None])[0] for one in some]

    with (
        serving(rule, SIDE, max_batch=3) as server,
        Client(server.url, max_slots=1) as client,
        pytest.raises(RefusedError, match="answered 'none'") as refused,
    ):
        client.predict_batch(pixels) if side_by_side else client.labels_in_turn(pixels)
    assert list(refused.value.answered) == [*LABELS[:4], None, LABELS[5]]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"classes": 5}, "classes are 5"),
        ({"classes": [["a"]]}, "classes are"),
        ({"classes": {"bicycle": 0, "bird": 1}}, "classes are"),
        ({"classes": ["bird"]}, "classes are"),
        ({"input_size": True}, "input_size is True"),
        ({"input_size": "64"}, "input_size is '64'"),
        ({"input_size": 7}, "input_size is 7; expected a side of 8 to 4096 pixels"),
        ({"input_size": "6" * 10_000}, "input_size is '6{79};"),
        ({"classes": ["b" * 10_000]}, "classes are .{80};"),
    ],
)
def test_an_info_of_something_else_is_refused(wrong, words):
    info = {"input_size": SIDE, "classes": ["bicycle", "bird"]} | wrong
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=info))
    with Client("http://toy", transport=transport) as client, pytest.raises(EndpointError, match=words):
        _ = client.info


def test_a_limit_that_is_no_number_is_none():
    info = {"input_size": SIDE, "classes": ["bicycle", "bird"], "limits": {"max_batch": True}}
    with Client("http://toy", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=info))) as client:
        assert client.info.max_batch == DEFAULT_BATCH


def test_other_pixels_than_were_sent_are_noticed(pixels):
    def handle(request: httpx.Request) -> httpx.Response:
        info = {"input_size": SIDE, "classes": ["bicycle", "bird"]}
        if request.url.path == "/info":
            return httpx.Response(200, json=info)
        return httpx.Response(200, json={"labels": LABELS}, headers={"Pixels-SHA256": ",".join(["0" * 64] * 10)})

    with (
        Client("http://toy", transport=httpx.MockTransport(handle)) as client,
        pytest.raises(EndpointError, match="other pixels"),
    ):
        client.predict_batch(pixels)


async def _flood():
    for _ in range(64):
        yield b" " * 2**16


@pytest.mark.parametrize("status", [200, 422, 503])
def test_a_huge_answer_is_not_read_to_its_end(status, pixels):
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=_flood()))
    with (
        Client("http://toy", retry=IMPATIENT, transport=transport) as client,
        pytest.raises(EndpointError, match="larger than 1,048,576 bytes"),
    ):
        client.predict(pixels[0])


def test_an_answer_that_was_packed_small_is_measured_unpacked(pixels):
    packed = gzip.compress(b" " * 2**24)
    headers = {"Content-Encoding": "gzip"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=packed, headers=headers))
    with Client("http://toy", transport=transport) as client, pytest.raises(EndpointError, match="larger than"):
        client.predict(pixels[0])


@pytest.mark.parametrize("packings", ["gzip, gzip", "zstd", "br"])
def test_an_answer_that_is_packed_beyond_measure_is_not_unpacked(packings, pixels):
    """Packed twice, 3 KiB hold 2 GiB."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Accept-Encoding"])
        packed = httpx.ByteStream(gzip.compress(gzip.compress(b'{"label": "bird"}')))
        return httpx.Response(200, stream=packed, headers={"Content-Encoding": packings})

    with (
        Client("http://toy", transport=httpx.MockTransport(handle)) as client,
        pytest.raises(EndpointError, match=f"packed as '{packings}', which was not asked for"),
    ):
        client.predict(pixels[0])
    assert asked == ["gzip, deflate"]


def test_a_packed_answer_is_read(pixels):
    packed = gzip.compress(b'{"label": "bird"}')
    headers = {"Content-Encoding": "gzip"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(packed), headers=headers))
    with Client("http://toy", transport=transport) as client:
        assert client.predict(pixels[0]) == "bird"


def test_an_answer_keeps_the_reason_that_its_status_line_gives():
    given = {"extensions": {"reason_phrase": b"Bright"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={}, **given))
    with Client("http://toy", transport=transport) as client:
        assert client.send(httpx.Request("GET", "http://toy")).reason_phrase == "Bright"


async def _drip():
    for _ in range(100):
        await asyncio.sleep(0.02)
        yield b" "


def test_an_answer_that_drips_is_given_up(pixels):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=_drip()))
    with (
        Client("http://toy", timeout_s=0.1, retry=IMPATIENT, transport=transport) as client,
        pytest.raises(EndpointError, match="ReadTimeout after"),
    ):
        client.predict(pixels[0])


def test_a_header_that_drips_is_given_up_and_asked_for_again(pixels):
    with (
        serving(brightness_rule, SIDE, drip=1.0) as server,
        Client(server.url, timeout_s=0.1, retry=IMPATIENT) as client,
    ):
        with pytest.raises(EndpointError, match="ReadTimeout after"):
            client.predict(pixels[0])
        assert client.pace.retries == server.requests > 1


def test_the_async_client_reads_no_more(pixels):
    async def predict(body) -> str:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body()))
        async with AsyncClient("http://toy", timeout_s=0.1, retry=IMPATIENT, transport=transport) as client:
            return await client.predict(pixels[0])

    for body, words in ((_flood, "larger than"), (_drip, "ReadTimeout after")):
        with pytest.raises(EndpointError, match=words):
            asyncio.run(predict(body))


def test_a_problem_is_told_in_its_own_words(pixels):
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"title": "Wrong shape", "detail": "expected (H, W, 3)"})

    with (
        Client("http://toy", transport=httpx.MockTransport(handle)) as client,
        pytest.raises(EndpointError, match=r"status 422 expected \(H, W, 3\)"),
    ):
        client.predict(pixels[0])


@pytest.mark.parametrize("charset", ["bz2_codec", "rot13", "hex", "undefined", "no such"])
def test_words_in_a_codec_that_is_none_for_text_are_read_all_the_same(charset, tmp_path, pixels):
    headers = {"Content-Type": f"text/html; charset={charset}"}
    transport = httpx.MockTransport(lambda _: httpx.Response(422, content=b"no bird", headers=headers))
    with Client("http://toy", transport=transport) as client, pytest.raises(RefusedError, match="422 no bird"):
        client.predict(pixels[0])
    foreign = _foreign(tmp_path, "", lambda _: httpx.Response(200, content=b"no bird", headers=headers))
    with foreign as client, pytest.raises(RefusedError, match="answer 'no bird'"):
        client.predict(pixels[0])


@pytest.mark.parametrize("body", [{"json": {"detail": "no " * 10_000}}, {"content": b"no " * 10_000}])
def test_a_refusal_in_many_words_is_cut(body, pixels):
    transport = httpx.MockTransport(lambda _: httpx.Response(422, **body))
    with Client("http://toy", transport=transport) as client, pytest.raises(RefusedError, match="no no") as refusal:
        client.predict(pixels[0])
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("-1", 0.0), ("nan", None), ("inf", math.inf), ("soon", None), (None, None)],
)
def test_retry_after(value, seconds):
    headers = {} if value is None else {"Retry-After": value}
    assert retry_after_s(httpx.Response(503, headers=headers)) == seconds


def test_retry_after_as_a_date():
    past = httpx.Response(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    assert retry_after_s(past) == 0.0


@pytest.mark.parametrize("value", ["0", "-1", "nan", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_of_no_time_does_not_undo_the_backoff(value, pixels):
    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(503, headers={"Retry-After": value})

    asked: list[str] = []
    with (
        Client("http://toy", retry=IMPATIENT, transport=httpx.MockTransport(handle)) as client,
        pytest.raises(EndpointError, match="status 503 after"),
    ):
        client.predict(pixels[0])
    assert len(asked) < 60  # some 20 fit into the patience


@pytest.mark.parametrize("value", ["inf", "1e9"])
def test_a_retry_after_beyond_patience_ends_at_once(value, pixels):
    with (
        Client(
            "http://toy",
            retry=IMPATIENT,
            transport=httpx.MockTransport(lambda _: httpx.Response(503, headers={"Retry-After": value})),
        ) as client,
        pytest.raises(EndpointError, match="after 1 attempts"),
    ):
        client.predict(pixels[0])


def test_closing_a_client_ends_what_another_thread_waits_for(pixels):
    with serving(brightness_rule, SIDE, busy=1.0) as server, ThreadPoolExecutor(1) as thread:
        server.retry_after_s = 5
        client = Client(server.url)
        waiting = thread.submit(client.predict, pixels[0])
        while client.pace.busy == 0:
            time.sleep(0.01)
        client.close()
        with pytest.raises(EndpointError, match="the client was closed"):
            waiting.result(timeout=1)
        with pytest.raises(EndpointError, match="the client was closed"):
            client.predict(pixels[0])
        client.close()


def _foreign(tmp_path: Path, text: str, handle) -> ForeignClient:
    file = tmp_path / "endpoint.toml"
    file.write_text(f'url = "http://toy/classify"\ninput_size = {SIDE}\n{text}')
    return ForeignClient(read_endpoint(file), transport=httpx.MockTransport(handle))


REQUESTS = {
    "multipart": '[request]\nformat = "multipart"\nfield = "photo"\n',
    "raw": '[request]\nformat = "raw"\nencoding = "bmp"\n',
    "base64-json": '[request]\nformat = "base64-json"\nbody = { instances = [ { b64 = "data:;base64,{image}" } ] }\n',
}


@pytest.mark.parametrize("form", REQUESTS)
def test_foreign_endpoints_get_the_very_pixels(form, tmp_path, pixels):
    def handle(request: httpx.Request) -> httpx.Response:
        content = request.read()
        if form == "multipart":
            assert b'name="photo"' in content
            content = content[content.index(b"\x89PNG") : content.rindex(b"\r\n--")]
        elif form == "base64-json":
            content = base64.b64decode(json.loads(content)["instances"][0]["b64"].removeprefix("data:;base64,"))
        label = {"bird": "magpie", "bicycle": 7}[brightness_rule(load_square(content, SIDE)[None])[0]]
        return httpx.Response(200, json={"predictions": [{"class": label}]})

    text = REQUESTS[form] + '[answer]\nlabel = "/predictions/0/class"\n[labels]\nbird = ["magpie"]\nbicycle = ["7"]\n'
    with _foreign(tmp_path, text, handle) as client:
        assert client.predict_batch(pixels) == LABELS


def test_a_name_that_is_not_listed_is_neither_class(tmp_path, pixels):
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"label": "teapot"})

    with _foreign(tmp_path, "", handle) as client:
        assert client.predict(pixels[0]) == "abstain"
    with _foreign(tmp_path, 'other = "error"\n', handle) as client, pytest.raises(EndpointError, match="teapot"):
        client.predict(pixels[0])


def test_brackets_without_end_are_no_label_and_no_reason(tmp_path, pixels):
    """Python's parser ends in a RecursionError, which is no ValueError."""
    nested = b"[" * 200_000
    foreign = _foreign(tmp_path, "", lambda _: httpx.Response(200, content=nested))
    with foreign as client, pytest.raises(EndpointError, match="no label at"):
        client.predict(pixels[0])
    for code, words in ((200, "no JSON"), (422, "status 422")):
        transport = httpx.MockTransport(lambda _, code=code: httpx.Response(code, content=nested))
        with Client("http://toy", transport=transport) as client, pytest.raises(EndpointError, match=words):
            client.predict(pixels[0])


def test_an_answer_may_be_the_label_and_nothing_else(tmp_path, pixels):
    with _foreign(tmp_path, '[answer]\nlabel = ""\n', lambda _: httpx.Response(200, json="bird")) as client:
        assert client.predict(pixels[0]) == "bird"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[request]\nencoding = "jpeg"', "lossy"),
        ('[request]\nform = "raw"', "request.form"),
        ('[request]\nformat = "base64-json"\nbody = { a = "IMAGE" }', "request.body: .*no string in it holds {image}"),
        ('[request.headers]\nkey = "schl\u00fcssel"', "request.headers: 'key' is no name of a header, or its value"),
        ('[request]\nformat = "base64-json"\nbody = { a = "{image}", b = [nan] }', "request.body: .*nan or inf"),
        ('[request.headers]\n"a b" = "c"', "request.headers: 'a b' is no name"),
        ('[request.headers]\nContent-length = "long"', "request.headers: Content-length follows from the picture"),
        ('[labels]\nbird = ["x"]', "labels must name"),
        ('[labels]\nbird = ["x"]\nbicycle = ["x"]', "labels must name"),
        ('[answer]\nlabel = "label"', r"answer.label: .*'label' is no JSON pointer; write '/label'"),
        ("[answer", "endpoint.toml"),
    ],
)
def test_a_mistake_in_the_description_is_named(text, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        _foreign(tmp_path, text, httpx.Response)


def test_secrets_come_from_the_environment(monkeypatch, pixels):
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200, json={"label": "bird"})

    endpoint = Endpoint(url="http://toy", request={"headers": {"Authorization": "Bearer ${TOY_TOKEN}"}})
    with pytest.raises(ConfigError, match="TOY_TOKEN"):
        ForeignClient(endpoint)
    monkeypatch.setenv("TOY_TOKEN", "abc")
    with ForeignClient(endpoint, transport=httpx.MockTransport(handle)) as client:
        client.predict(pixels[0])
    assert seen == ["Bearer abc"]


def test_the_api_key_comes_from_the_environment(monkeypatch, pixels):
    """Every request of the contract's clients carries it; a described endpoint gets the headers it names alone."""
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        return httpx.Response(200, json={"label": "bird"})

    async def predict_later() -> None:
        async with AsyncClient("http://toy", transport=httpx.MockTransport(handle)) as client:
            await client.predict(pixels[0])

    for key in (" tb_abc\n", ""):
        monkeypatch.setenv("TRADES_BOB_API_KEY", key)
        with Client("http://toy", transport=httpx.MockTransport(handle)) as client:
            client.predict(pixels[0])
        asyncio.run(predict_later())
        with ForeignClient(Endpoint(url="http://toy"), transport=httpx.MockTransport(handle)) as client:
            client.predict(pixels[0])
    assert seen == ["Bearer tb_abc", "Bearer tb_abc", None, None, None, None]


@pytest.mark.parametrize("key", ["two\nlines", "Schlüssel"])
def test_a_key_that_cannot_be_sent_is_one_line(monkeypatch, key):
    monkeypatch.setenv("TRADES_BOB_API_KEY", key)
    with pytest.raises(ConfigError, match="TRADES_BOB_API_KEY"):
        Client("http://toy")


def test_no_cookie_is_kept(pixels):
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Cookie"))
        return httpx.Response(200, json={"label": "bird"}, headers={"Set-Cookie": "query=1; Path=/"})

    seen: list[str | None] = []
    transport = httpx.MockTransport(handle)
    described = ForeignClient(Endpoint(url="http://toy.example/p?version=1"), transport=transport)
    for client in (Client("http://toy.example", transport=transport), described):
        with client:
            for _ in range(2):
                client.predict(pixels[0])
    assert seen == [None] * 4


def test_the_client_needs_no_torch():
    code = "import sys, attack.wire.client, attack.wire.async_client, attack.wire.foreign, attack.wire.adapters\n"
    code += "print(sorted({'torch', 'torchvision', 'kornia', 'onnxruntime', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
