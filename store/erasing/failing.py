"""Erasures that fail: each by itself is left alone for a while, and tried again for as long as it takes."""

import logging
import sqlite3
from collections.abc import Callable
from uuid import UUID

from store.connection import transaction_now
from store.erasing.under_way import Erasure, note_failure
from store.error_name import error_name

_log = logging.getLogger("tracemill.store")

FIRST_REST_S = 5.0
_LONGEST_REST_S = 3600.0


class Failing:
    """Which erasures failed, and until when each rests: twice as long each time, up to an hour."""

    def __init__(self, clock: Callable[[], float], first_rest_s: float = FIRST_REST_S) -> None:
        """Remember nothing yet; a process that begins anew tries at once.

        Args:
            clock: Seconds that never go back.
            first_rest_s: After the first failure.
        """
        self._clock = clock
        self._first_rest_s = first_rest_s
        self._failures: dict[UUID, int] = {}
        self._rests_until: dict[UUID, float] = {}

    def is_resting(self, id_: UUID) -> bool:
        """Tell whether an erasure is to be left alone."""
        return self._clock() < self._rests_until.get(id_, 0.0)

    def note(self, db: sqlite3.Connection, erasure: Erasure, error: Exception) -> None:
        """Undo what a step had begun, and say why it failed: in the log and, if it can be written, in the database."""
        if db.in_transaction:
            db.execute("ROLLBACK")
        failures = self._failures[erasure.id] = self._failures.get(erasure.id, 0) + 1
        rest_s = min(self._first_rest_s * 2 ** (failures - 1), _LONGEST_REST_S)
        self._rests_until[erasure.id] = self._clock() + rest_s
        # Of what kind, never the text: that may quote a trace.
        name = error_name(error)
        _log.error(
            "erasure %s failed in its phase %r for the %d. time (%s); trying again in %g s",
            erasure.id, erasure.phase, failures, name, rest_s,
        )  # fmt: skip
        try:
            with transaction_now(db):
                note_failure(db, erasure, f"{name} in the phase {erasure.phase!r}", failures)
        except sqlite3.Error as again:
            _log.warning("that erasure %s fails cannot be written down (%s)", erasure.id, error_name(again))

    def got_on(self, id_: UUID) -> None:
        """Forget that it ever failed."""
        self._failures.pop(id_, None)
        self._rests_until.pop(id_, None)
