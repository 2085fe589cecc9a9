"""A walk over a table of `work.db` that tells which traces something was made from, to erase it with them."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Held(NamedTuple):
    """A row of the walked table whose trace was erased.

    Attributes:
        number: Its number.
        key: Of what was made from the trace.
        change: Number of the change that asked for the erasing.
    """

    number: int
    key: Any
    change: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step of a walk came to.

    Attributes:
        calls: Teachers' calls that were deleted.
        datasets: Folders of runs and labels of versions that held something of it.
        then: What is to be done after the transaction.
    """

    calls: int = 0
    datasets: tuple[str, ...] = ()
    then: Callable[[], None] | None = None


class Walk(NamedTuple):
    """How a table is walked.

    Attributes:
        sources: Gives number, key and trace id (16 bytes, or text) of some rows after `:place`, `:count` at most, in
            the order of their numbers.
        erase: Erases what was made from erased traces, inside a transaction, given the time.
    """

    sources: str
    erase: Callable[[sqlite3.Connection, Sequence[Held], str], Outcome]
