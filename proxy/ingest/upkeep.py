"""Upkeep: the chores of the store, a step of each between two rounds of ingest."""

import logging
import time
from collections.abc import Sequence

from store.chore import Chore
from store.error_name import error_name
from store.traces import TraceWriter

_log = logging.getLogger("tracemill.ingest")

_REST_S = 60.0
"""How long a chore that failed is left alone."""


class Upkeep:
    """Does the chores, in turn; one that fails costs itself a minute, and ingest nothing."""

    def __init__(self, writer: TraceWriter, chores: Sequence[Chore]) -> None:
        """Begin with every chore due."""
        self._writer = writer
        self._due_at = {chore.name: 0.0 for chore in chores}
        self._chores = chores

    async def work(self, seconds: float) -> float:
        """Do a step of each chore, and more while `seconds` last and there is more to do; tell how long it took."""
        began = time.monotonic()
        busy = list(self._chores)
        while busy:
            busy = [chore for chore in busy if await self._step(chore)]
            if time.monotonic() - began >= seconds:
                break
        return time.monotonic() - began

    async def _step(self, chore: Chore) -> bool:
        if time.monotonic() < self._due_at[chore.name]:
            return False
        try:
            return (await self._writer.perform(chore)).has_more
        except Exception as error:  # noqa: BLE001 - no chore may keep calls from being stored
            self._due_at[chore.name] = time.monotonic() + _REST_S
            # Of what kind, never the text: that may quote a trace.
            _log.error("the chore %s failed (%s); trying again in %g s", chore.name, error_name(error), _REST_S)
            return False
