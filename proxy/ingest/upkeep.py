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
_LOOK_S = 0.5
"""How often chores are asked while nothing is stored and none finds anything to do: asking them all takes half a
millisecond, and an idle ingest goes round ten times a second."""


class Upkeep:
    """Does the chores, in turn; one that fails costs itself a minute, and ingest nothing."""

    def __init__(self, writer: TraceWriter, chores: Sequence[Chore], *, look_s: float = _LOOK_S) -> None:
        """Begin with every chore due; `look_s` is how often they are asked while nothing happens."""
        self._writer = writer
        self._look_s = look_s
        self._calm_until = 0.0
        self._due_at = {chore.name: 0.0 for chore in chores}
        self._chores = chores

    async def work(self, seconds: float, *, has_news: bool) -> float:
        """Do a step of each chore, and more while `seconds` last and there is more to do; tell how long it took.

        Args:
            seconds: How long there is time.
            has_news: Whether something was stored since the last time.
        """
        began = time.monotonic()
        if began < self._calm_until and not has_news:
            return 0.0
        busy = [chore for chore in self._chores if await self._step(chore)]
        self._calm_until = 0.0 if busy else began + self._look_s
        while busy and time.monotonic() - began < seconds:
            busy = [chore for chore in busy if await self._step(chore)]
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
