"""Followers: tables that are derived from traces, written in the transaction that stores or erases the traces.

So they are never ahead of the traces and never behind, and nothing has to be repaired after a crash. What may lag, such
as an index for search, is a chore instead (`store.chore`).
"""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from store.trace import Trace
from store.tree import Link


class StoredTrace(NamedTuple):
    """A trace that has just been stored.

    Attributes:
        number: Of its row in `traces`.
        links: Its request's messages, hashed, in their order.
        answers: One for each of its replies.
    """

    number: int
    trace: Trace
    links: Sequence[Link]
    answers: Sequence[Link]


class Follower(Protocol):
    """Keeps some derived tables."""

    def add(self, db: sqlite3.Connection, traces: Sequence[StoredTrace]) -> None:
        """Take in a batch, inside its transaction, after its rows; every row it refers to is there."""

    def remove(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Let go of traces, inside the transaction that erases them, before their rows go."""

    def forget(self) -> None:
        """Drop what is remembered in memory: a transaction was rolled back, or rows were erased."""
