"""Bodies: arrays and forms off the network, and what of them is refused."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server.bodies import Body, BodyBudget, ClientGone, read_form, read_npy
from server.decoding import decode_picture
from server.problems import NotAnImage, Problem, SlowBody, TooLarge, Unavailable, WrongShape
from tests.live_server import npy
from tests.pictures import encoded

pytestmark = pytest.mark.unit


@settings(deadline=None)
@given(arrays(np.uint8, st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)), st.sampled_from("CF"))
def test_arrays_come_back(array: np.ndarray, order: str) -> None:
    assert np.array_equal(read_npy(npy(np.asarray(array, order=order))), array)  # type: ignore[call-overload]


@pytest.mark.parametrize("dimensions", [5, 70])
def test_arrays_of_many_dimensions_are_of_a_wrong_shape(dimensions: int) -> None:
    """Also of more than numpy has."""
    five = npy(np.zeros((1,) * 5, np.uint8))
    head = five[10:-1].replace(b"(1, 1, 1, 1, 1)", str((1,) * dimensions).encode())
    with pytest.raises(WrongShape):
        read_npy(five[:8] + len(head).to_bytes(2, "little") + head + five[-1:])


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_noise_is_a_problem_and_nothing_else(noise: bytes, magic: bool) -> None:
    with pytest.raises(Problem):
        read_npy(b"\x93NUMPY\x01\x00" * magic + noise)
    with pytest.raises(Problem):
        read_form(noise, b"b", "image", 3)
    with pytest.raises(Problem):
        decode_picture(noise, np.empty((8, 8, 3), np.uint8), 10_000)


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        b'--b\r\ncontent-disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + content + b"\r\n"
        for name, content in parts
    )
    return body + b"--b--\r\n"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["image", "other"]), st.binary(max_size=60)), min_size=1, max_size=6))
def test_forms_come_back(parts: list[tuple[str, bytes]]) -> None:
    parts = [(name, content.replace(b"--b", b"")) for name, content in parts]
    wanted = [content for name, content in parts if name == "image"]
    if wanted:
        assert read_form(form(*parts), b"b", "image", 6) == wanted
    else:
        with pytest.raises(WrongShape):
            read_form(form(*parts), b"b", "image", 6)


def test_forms_are_bounded() -> None:
    with pytest.raises(TooLarge, match="2 images"):
        read_form(form(*[("image", b"x")] * 3), b"b", "image", 2)
    with pytest.raises(TooLarge, match="parts"):
        read_form(form(*[("other", b"x")] * 30), b"b", "image", 2)
    with pytest.raises(NotAnImage, match="short"):
        read_form(form(("image", b"x"))[:-5], b"b", "image", 2)


def test_endless_scans_are_refused() -> None:
    good = encoded(np.zeros((8, 8, 3), np.uint8), "JPEG", progressive=True)
    square = np.empty((8, 8, 3), np.uint8)
    decode_picture(good, square, 100)
    with pytest.raises(NotAnImage, match="scans"):
        decode_picture(good[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 100, square, 100)


def read(chunks: list[bytes], budget: BodyBudget, announced: str | None = None, end: bool = True) -> bytes:
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if end:
        messages[-1]["more_body"] = False

    async def receive() -> dict[str, object]:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(60)
        raise AssertionError

    async def run() -> bytes:
        with Body(budget, receive, announced) as body:
            return await body.read()

    return asyncio.run(run())


def test_bodies_are_bounded_in_bytes_and_time() -> None:
    budget = BodyBudget(max_body_bytes=10, max_buffered_bytes=15, timeout_s=0.05)
    assert read([b"abc", b"", b"defg"], budget) == b"abcdefg"
    assert read([b"abc"], budget, announced="3") == b"abc"
    with pytest.raises(TooLarge):
        read([b"x" * 6, b"x" * 6], budget)
    with pytest.raises(TooLarge):
        read([b"x"], budget, announced="11")
    with pytest.raises(SlowBody):
        read([b"x"], budget, end=False)
    budget.take(8)
    with pytest.raises(Unavailable):
        read([b"x" * 9], budget)
    assert read([b"x"], budget, announced="9") == b"x"  # what is announced takes nothing from others
    budget.give_back(8)
    assert budget.held == 0


def test_a_client_that_leaves() -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def run() -> None:
        with Body(BodyBudget(10, 10, 1), receive, None) as body:
            await body.read()

    with pytest.raises(ClientGone):
        asyncio.run(run())
