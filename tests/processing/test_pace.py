"""How many calls are in flight: what a server bears, never more than were allowed, and no place ever lost."""

import asyncio
import random

import pytest

from processing.pace import AutoPace, FixedPace, Pace

LIMIT = 11


class RateLimited:
    """A server that bears so many calls at once and refuses every further one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self.most = 0
        self.refused = 0

    async def answer(self) -> bool:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            if self.in_flight > self.limit:
                self.refused += 1
                return False
            await asyncio.sleep(0.001)
            return True
        finally:
            self.in_flight -= 1


async def ask_all(pace: Pace, server: RateLimited, calls: int) -> None:
    async def ask() -> None:
        while True:
            async with pace:
                began_at = asyncio.get_running_loop().time()
                is_answered = await server.answer()
            if is_answered:
                pace.answered()
                return
            pace.slowed(began_at)
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            group.create_task(ask())


async def test_an_auto_pace_settles_below_what_the_server_bears() -> None:
    server, pace = RateLimited(LIMIT), AutoPace()
    await ask_all(pace, server, 600)
    assert server.most <= LIMIT + 2
    assert server.refused < 60, "at most one in ten was asked for nothing"
    assert LIMIT // 2 - 1 <= pace.places <= LIMIT + 1


async def test_an_auto_pace_grows_where_nothing_stops_it_and_no_further_than_it_may() -> None:
    server, pace = RateLimited(10_000), AutoPace(most=20)
    await ask_all(pace, server, 600)
    assert server.most == pace.places == 20


async def test_a_pace_that_nobody_waits_for_does_not_grow() -> None:
    """Many answers one after the other say nothing of what the server bears at once."""
    server, pace = RateLimited(10_000), AutoPace()
    for _ in range(100):
        await ask_all(pace, server, 1)
    assert pace.places == 4


async def test_calls_that_met_the_same_limit_halve_it_once() -> None:
    pace = AutoPace(first=32)
    began_at = asyncio.get_running_loop().time()
    await asyncio.sleep(0.001)
    for _ in range(32):
        pace.slowed(began_at)
    assert pace.places == 16
    for _ in range(10):
        await asyncio.sleep(0.001)
        pace.slowed(asyncio.get_running_loop().time())
    assert pace.places == 1


@pytest.mark.parametrize("make", [lambda: FixedPace(3), lambda: AutoPace(first=3, most=3)])
async def test_a_cancelled_call_gives_its_place_back_whenever_it_is_cancelled(make: type[Pace]) -> None:
    chance = random.Random(5)
    pace, held = make(), 0

    async def hold() -> None:
        nonlocal held
        async with pace:
            held += 1
            assert held <= 3
            try:
                await asyncio.sleep(chance.random() / 1000)
            finally:
                held -= 1

    tasks = [asyncio.create_task(hold()) for _ in range(400)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    async with asyncio.timeout(5), pace, pace, pace:
        assert held == 0
