"""The first signal is a request, the second ends at once, and none is lost."""

import signal
from threading import Thread

import pytest

from train.stop import StopRequest, stop_request

pytestmark = pytest.mark.unit


class EndedError(Exception):
    """By the handler that was there before."""


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def number(request):
    def end(*_: object) -> None:
        raise EndedError

    before = signal.signal(request.param, end)
    yield request.param
    signal.signal(request.param, before)


def test_the_first_signal_is_noted_and_the_second_ends_at_once(number):
    with pytest.raises(EndedError), stop_request() as request:
        twice(number, request)
    assert request.number == number


def twice(number: signal.Signals, request: StopRequest) -> None:
    signal.raise_signal(number)
    assert request.number == number, "the first only asks"
    signal.raise_signal(number)
    pytest.fail("the second did not end the block")


def test_a_signal_that_nobody_answered_is_not_lost(number):
    with pytest.raises(EndedError), stop_request():
        signal.raise_signal(number)


def test_an_ignored_signal_stays_ignored(number):
    """As Ctrl-C is for what a script started in the background."""
    signal.signal(number, signal.SIG_IGN)
    with stop_request() as request:
        signal.raise_signal(number)
        assert request.number == 0
    assert signal.getsignal(number) is signal.SIG_IGN


def test_in_another_thread_nothing_is_noted():
    asked = []

    def run() -> None:
        with stop_request() as request:
            asked.append(request.number)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    assert asked == [0]
