"""Traces in the order in which they were stored, for whoever hands each of them on once."""

from typing import NamedTuple

from store.trace import Trace
from store.trace_reader import TraceReader

_AFTER = "SELECT t.* FROM traces t WHERE t.number > :place ORDER BY t.number LIMIT :count"
_BATCH_BYTES = 16 * 1024 * 1024


class FedTrace(NamedTuple):
    """A trace and its place in the order of storing."""

    place: int
    trace: Trace


class TraceFeed(TraceReader):
    """A reader that goes by the order of storing: by time, a call that took long would come in behind the reader."""

    async def newest_place(self) -> int:
        """Give the place of the trace that was stored last; 0 when there is none."""
        return await self._newest_row()

    async def after(self, place: int, count: int) -> list[FedTrace]:
        """Give the next traces behind a place; fewer than `count` when they are large.

        Places are the rows' numbers: when the newest traces are deleted, new ones may take theirs, and a reader whose
        place is beyond `newest_place` has to go back to it.
        """
        async with self._snapshot():
            rows = await self._fetch(_AFTER, {"place": place, "count": count})
            size, taken = 0, 0
            for row in rows:
                size += row["request_bytes"] + row["response_bytes"]
                taken += 1
                if size >= _BATCH_BYTES:
                    break
            rows = rows[:taken]
            traces = await self._load(rows)
        return [FedTrace(row["number"], trace) for row, trace in zip(rows, traces, strict=True)]
