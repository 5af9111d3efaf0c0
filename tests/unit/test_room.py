"""Room in line: the first come first, by weight, and who leaves the line takes nothing."""

import asyncio

import pytest

from server.room import Room

pytestmark = pytest.mark.unit


def test_the_first_come_are_first_and_who_leaves_takes_nothing() -> None:
    async def run() -> None:
        room = Room(10)
        turns = [room.take(weight) for weight in (6, 5, 4, 10, 0)]
        assert [turn.done() for turn in turns] == [True, False, False, False, False]  # the 4 does not overtake the 5
        turns[1].cancel()
        room.give_back(0)
        assert [turn.done() for turn in turns[2:]] == [True, False, False]
        for weight in (4, 6):
            room.give_back(weight)
        assert (turns[3].done(), turns[4].done(), room.free) == (True, True, 0)

    asyncio.run(run())
