"""Gaps: what the journal had no room for, declared as soon as there is room again.

A call that was shed has no entry. So that nobody takes what is stored for all there was, the journal says how many are
missing, since when, until when and why; ingest keeps that as a dead letter of the reason `gap`. What is missing and
what is declared are the same number, unless the worker is killed before there was room for the declaration.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from store.trace import DeadLetter

_log = logging.getLogger("tracemill.journal")

_LOG_INTERVAL_S = 10.0
"""At most one line in this time says that something is shed: a full disk must not be filled with lines about it."""


@dataclass(slots=True)
class _Gap:
    count: int
    first_at: float
    last_at: float


class GapLedger:
    """What was shed and is not declared yet, by reason. Used on the event loop's thread alone."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin with nothing missing; `clock` tells the time of day."""
        self.shed: Counter[str] = Counter()
        self._clock = clock
        self._gaps: dict[str, _Gap] = {}
        self._quiet_until = 0.0
        self._unsaid = 0

    def add(self, reason: str) -> None:
        """Count one thing that was not recorded."""
        self.shed[reason] += 1
        now = self._clock()
        gap = self._gaps.setdefault(reason, _Gap(0, now, now))
        gap.count += 1
        # A clock that is set back must not turn the stretch around.
        gap.last_at = max(gap.last_at, now)
        self._unsaid += 1
        if time.monotonic() >= self._quiet_until:
            _log.warning(
                "capture has no room (%s): %d shed since the last line; calls go on, /metrics counts what is missing",
                reason, self._unsaid,
            )  # fmt: skip
            self._quiet_until = time.monotonic() + _LOG_INTERVAL_S
            self._unsaid = 0

    def take(self) -> Iterator[dict[str, Any]]:
        """Yield the meta of each gap and forget it."""
        gaps, self._gaps = self._gaps, {}
        for reason, gap in gaps.items():
            yield {"reason": reason, "count": gap.count, "from": gap.first_at, "to": gap.last_at}


def gap_letter(gap_id: UUID, meta: dict[str, Any]) -> DeadLetter:
    """Return the dead letter that declares a gap.

    Args:
        gap_id: The gap's own id: by it a gap that is read twice is stored once.
        meta: `reason`, `count`, `from`, `to` (seconds of the epoch) and `writer`, the name of the writer's folder.
    """
    since, until = (datetime.fromtimestamp(meta[end], UTC).isoformat(timespec="milliseconds") for end in ("from", "to"))
    detail = f"{meta['count']} not recorded ({meta['reason']}) from {since} to {until} by {meta['writer']}"
    return DeadLetter("gap", detail, orjson.dumps(meta), gap_id)
