"""Chores: the work on the whole store that nobody waits for, cut into steps so small that ingest never waits for it.

The writer does one step of each between two batches: retention, erasing, the index for search, new prices.
"""

import sqlite3
from typing import NamedTuple, Protocol


class Step(NamedTuple):
    """What one step came to.

    Attributes:
        has_more: The next step is worth doing at once.
        has_erased: Rows that a writer may remember are gone.
        is_resting: What a writer remembers to be faster may go: it will not be asked for soon.
    """

    has_more: bool = False
    has_erased: bool = False
    is_resting: bool = False


NOTHING_TO_DO = Step()


class Chore(Protocol):
    """One kind of work that is done in steps.

    Attributes:
        name: For logs and metrics.
    """

    name: str

    def step(self, db: sqlite3.Connection) -> Step:
        """Do some 50 ms of work at most, in a transaction of its own, or find that nothing is to be done.

        Called between batches, several times a second: finding nothing to do must cost next to nothing. What is left
        to do stands in the database, so that a killed process goes on where it was.
        """
