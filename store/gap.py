"""Gaps: what is declared as not recorded, read back from the dead letters that declare it."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from store.body import unpack
from store.unchanged_view import unchanged_view

GAP_BODIES = "SELECT body FROM dead_letters WHERE reason = 'gap' ORDER BY id"


@dataclass(frozen=True, slots=True)
class Gap:
    """Things of one kind that one writer could not record.

    Attributes:
        reason: Of `docs/metrics.md`, "Why something is not recorded".
        count: How many: calls, or bodies where the reason says so.
        first_at: When the first one was shed, UTC.
        last_at: When the last one was.
        writer: Name of the writer's folder.
    """

    reason: str
    count: int
    first_at: datetime
    last_at: datetime
    writer: str

    @property
    def is_of_bodies(self) -> bool:
        """Whether the calls are there and only parts of their bodies are missing."""
        return self.reason.endswith("_body")


def gap_of(body: bytes) -> Gap:
    """Read the body of a dead letter of the reason `gap`.

    Raises:
        ValueError: It is something else.
    """
    try:
        meta = json.loads(body)
        since, until = (datetime.fromtimestamp(meta[end], UTC) for end in ("from", "to"))
        return Gap(str(meta["reason"]), int(meta["count"]), since, until, str(meta["writer"]))
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"the body of a gap's dead letter is none ({type(error).__name__})") from error


def gap_sentences(gaps: Iterable[Gap]) -> list[str]:
    """Say by reason how much was not recorded, and between which times."""
    by_reason: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_reason.setdefault(gap.reason, []).append(gap)
    return [_sentence(reason, found) for reason, found in sorted(by_reason.items())]


def _sentence(reason: str, gaps: list[Gap]) -> str:
    count = sum(gap.count for gap in gaps)
    since, until = min(gap.first_at for gap in gaps), max(gap.last_at for gap in gaps)
    thing = ("body", "bodies") if gaps[0].is_of_bodies else ("call", "calls")
    what = f"{count:,} {thing[count != 1]} {'was' if count == 1 else 'were'} not recorded"
    return f"{what} between {since:%Y-%m-%d %H:%M:%S} and {until:%Y-%m-%d %H:%M:%S} UTC ({reason})"


def gaps_between(path: Path, since: datetime | None, until: datetime | None) -> list[Gap]:
    """Read the gaps of a database that touch a stretch of time; a bound that is None is no bound.

    Raises:
        OrphanedLogError, sqlite3.Error: The database cannot be looked at.
    """
    with unchanged_view(path) as connection:
        gaps = read_gaps(connection)
    return [gap for gap in gaps if (since is None or gap.last_at >= since) and (until is None or gap.first_at <= until)]


def read_gaps(connection: sqlite3.Connection) -> list[Gap]:
    """Read every gap that the store declares, in the order of their declaration."""
    return [gap_of(unpack(row[0])) for row in connection.execute(GAP_BODIES)]
