"""Chores are asked when something is new, and now and then when nothing is."""

import sqlite3
from pathlib import Path

from proxy.ingest.upkeep import Upkeep
from store.chore import NOTHING_TO_DO, Step
from store.traces import TraceWriter


class _Counting:
    """Has so much to do, and counts how often it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.left = self.asked = 0

    def step(self, db: sqlite3.Connection) -> Step:
        assert db.in_transaction is False
        self.asked += 1
        if not self.left:
            return NOTHING_TO_DO
        self.left -= 1
        return Step(has_more=True)


async def test_chores_with_nothing_to_do_are_left_alone_until_something_is_new(tmp_path: Path) -> None:
    chore = _Counting()
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        upkeep = Upkeep(writer, [chore])
        for _ in range(5):
            await upkeep.work(0, has_news=False)
        assert chore.asked == 1, "an idle server asks every chore ten times a second"
        await upkeep.work(0, has_news=True)
        assert chore.asked == 2


async def test_chores_are_asked_again_after_one_of_them_did_something(tmp_path: Path) -> None:
    """One chore may wait for what another one does."""
    chore, waiting = _Counting(), _Counting()
    chore.left, waiting.name = 2, "waiting"
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        upkeep = Upkeep(writer, [chore, waiting])
        await upkeep.work(0, has_news=False)
        await upkeep.work(0, has_news=False)
        assert (chore.asked, waiting.asked) == (2, 2)
        await upkeep.work(60, has_news=False)
        await upkeep.work(60, has_news=False)
        await upkeep.work(60, has_news=False)
        assert (chore.asked, waiting.asked) == (3, 3)


async def test_chores_with_nothing_to_do_are_asked_now_and_then_all_the_same(tmp_path: Path) -> None:
    chore = _Counting()
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        upkeep = Upkeep(writer, [chore], look_s=0.0)
        for _ in range(3):
            await upkeep.work(0, has_news=False)
        assert chore.asked == 3, "what is due by the time of day would never be done"
