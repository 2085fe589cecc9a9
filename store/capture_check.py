"""The self-check of what the store says about itself: dead letters, gaps, and times that cannot be."""

import sqlite3
import time
from collections.abc import Iterator

from store import finding
from store.finding import Finding
from store.gap import gap_sentences, read_gaps
from store.trace_rows import from_micros

_CLOCK_SLACK_S = 60.0
"""Clocks of machines that share a data directory's files differ by less."""
_LETTERS = "SELECT reason, count(*), sum(body_bytes) FROM dead_letters WHERE reason <> 'gap' GROUP BY reason"


def check_capture(connection: sqlite3.Connection, now: float | None = None) -> list[Finding]:
    """Tell what was set aside, what is declared missing, and whether a trace is from the future.

    Args:
        connection: A database of today's schema.
        now: Seconds of the epoch, in place of the clock's.
    """
    moment = time.time() if now is None else now
    return [*_letters(connection), *_gaps(connection), *_clock(connection, moment)]


def _letters(connection: sqlite3.Connection) -> Iterator[Finding]:
    by_reason = {str(reason): int(number) for reason, number, _ in connection.execute(_LETTERS)}
    if by_reason:
        told = ", ".join(f"{number:,} {reason}" for reason, number in sorted(by_reason.items()))
        number = sum(by_reason.values())
        what = f"{number:,} dead letter{'s' if number > 1 else ''}: {told}."
        yield Finding(finding.DEAD_LETTERS, what, {"dead_letters": number, "by_reason": by_reason})


def _gaps(connection: sqlite3.Connection) -> Iterator[Finding]:
    gaps = read_gaps(connection)
    if gaps:
        by_reason: dict[str, int] = {}
        for gap in gaps:
            by_reason[gap.reason] = by_reason.get(gap.reason, 0) + gap.count
        facts = {
            "by_reason": by_reason,
            "from": min(gap.first_at for gap in gaps).isoformat(),
            "to": max(gap.last_at for gap in gaps).isoformat(),
            "declarations": len(gaps),
        }
        yield Finding(finding.GAPS, "; ".join(gap_sentences(gaps)) + ".", facts)


def _clock(connection: sqlite3.Connection, now: float) -> Iterator[Finding]:
    (newest,) = connection.execute("SELECT max(created_at) FROM traces").fetchone()
    if newest is not None and newest / 1e6 > now + _CLOCK_SLACK_S:
        newest_at = from_micros(newest)
        what = f"the newest trace is of {newest_at:%Y-%m-%d %H:%M:%S} UTC, {newest / 1e6 - now:,.0f} s in the future."
        yield Finding(finding.CLOCK_BEHIND, what, {"newest_at": newest_at.isoformat()})
