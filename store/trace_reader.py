"""Reading traces: one, a page of summaries, or all of a selection in bounded memory, while a writer writes."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import aiosqlite

from store.body import Cut, put_back, unpack
from store.connection import close, run, transaction
from store.database import TRACES, open_reader, store_error
from store.errors import CorruptDatabaseError
from store.filter import Filter
from store.filter_functions import add_functions
from store.filter_scan import Count, Found, Scan
from store.id_list import (
    BLOBS_OF,
    COSTS_OF,
    FINISH_REASONS_OF,
    NODE_BLOBS_OF,
    NODES_UP_FROM,
    REPLIES_OF,
    TAGS_OF,
    USAGES_OF,
    number_list,
)
from store.search_index import search_state
from store.trace import DeadLetter, JsonText, Reply, Trace
from store.trace_order import Order, Place, from_cursor, to_cursor
from store.trace_rows import from_blob, from_micros, some_text, trace_of
from store.trace_summary import Counts, Stats, TracePage, summary_of
from store.usage_days import count_traces

T = TypeVar("T")

# A page of a million traces goes through some hundred places of an index, which lie in as many pages of the file.
_CACHE = "PRAGMA cache_size = -16000"
_BATCH_TRACES = 64
_PAGE_S = 0.04
"""A page is what was found by then: what nobody has an index for may be anywhere in years of traces."""
# Bodies of one batch are in memory at once; a batch ends early when what came over the wire exceeds this.
_BATCH_BYTES = 16 * 1024 * 1024
_BLOB_COLUMNS = ("tools_blob", "response_format_blob", "parameters_blob", "metadata_blob", "error_blob")

_STORE = """
    SELECT (SELECT nodes FROM totals) AS nodes, (SELECT blobs FROM totals) AS blobs,
           (SELECT body_bytes FROM totals) AS body_bytes, (SELECT count(*) FROM dead_letters) AS dead_letters,
           (SELECT min(created_at) FROM traces) AS first_at, (SELECT max(created_at) FROM traces) AS last_at
"""


class TraceReader:
    """A view of a `traces.db`; any number of them work beside the writer, each for any number of tasks in turn."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._connection.row_factory = sqlite3.Row
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open an existing database.

        Raises:
            StoreError: As `store.database.open_reader`.
        """
        connection = await open_reader(path, TRACES)
        try:
            await run(connection, add_functions)
            await connection.execute(_CACHE)
        except BaseException:
            await asyncio.shield(connection.close())
            raise
        return cls(connection, path)

    async def close(self) -> None:
        """Close the database."""
        await close(self._connection, self._turn)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on one state of the database, as a whole and on the connection's thread; it only reads.

        Raises:
            StoreError: SQLite says so.
        """
        async with self._snapshot():
            return await run(self._connection, work)

    async def trace(self, trace_id: UUID) -> Trace | None:
        """Give one trace, None when there is none of this id."""
        async with self._snapshot():
            rows = await self._fetch("SELECT t.* FROM traces t WHERE t.id = :id", {"id": trace_id.bytes})
            traces = await self._load(rows)
        return traces[0] if traces else None

    async def traces(
        self, where: Filter | None = None, *, newest_first: bool = False, limit: int | None = None
    ) -> AsyncIterator[Trace]:
        """Yield the traces of a selection by time and id, in bounded memory.

        Traces written after the first step are left out, so the iteration ends however fast a writer is. Between two
        steps no transaction is open: a slow consumer does not keep the writer from trimming its log.

        Args:
            where: The selection; None for all.
            newest_first: Turn the order round.
            limit: At most so many; None for no bound.
        """
        order = Order.NEWEST if newest_first else Order.OLDEST
        place: Place | None = order.start
        newest_row = await self._newest_row()
        remaining = limit
        while place is not None and (remaining is None or remaining > 0):
            count = _BATCH_TRACES if remaining is None else min(remaining, _BATCH_TRACES)
            rows, place = await self.look(_next_rows(where, order, place, count, newest_row))
            for group in _by_size(rows):
                async with self._snapshot():
                    traces = await self._load(group)
                for trace in traces:
                    yield trace
            if remaining is not None:
                remaining -= len(rows)

    async def page(
        self, where: Filter | None = None, cursor: str | None = None, limit: int = 50, order: Order = Order.NEWEST
    ) -> TracePage:
        """List summaries, as many as are found within a moment.

        Args:
            where: The selection; None for all.
            cursor: `next_cursor` of the page before; None for the first page. Pages neither repeat nor skip a trace,
                although new ones come in meanwhile.
            limit: At most so many.
            order: What comes first; traces that lack its value are left out.

        Raises:
            CursorError: The cursor was not made by an earlier page in this order.
        """
        place = order.start if cursor is None else from_cursor(order, cursor)
        return await self.look(lambda db: _page(db, where, order, place, limit))

    async def count(self, where: Filter | None = None, *, seconds: float = _PAGE_S) -> Count:
        """Count the traces of a selection, as far as it comes within some time."""
        return await self.look(lambda db: Scan(db, where).count(seconds))

    async def counts(self) -> Counts:
        """Count traces and dead letters, and nothing that needs a look at the rows."""
        async with self._snapshot():
            rows = await self._fetch("SELECT (SELECT count(*) FROM traces), (SELECT count(*) FROM dead_letters)")
        return Counts(*rows[0])

    async def stats(self) -> Stats:
        """Count what the store holds, at a cost that does not grow with the number of traces."""
        totals = await self.look(_totals)
        return Stats(**totals, bytes_on_disk=_bytes_on_disk(self.path))

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        """Yield what could not be understood, in the order it was set aside."""
        last = 0
        while True:
            async with self._snapshot():
                rows = await self._fetch(
                    "SELECT * FROM dead_letters WHERE id > :last ORDER BY id LIMIT 1", {"last": last}
                )
            if not rows:
                return
            row = rows[0]
            last = row["id"]
            trace_id = UUID(bytes=row["trace_id"]) if row["trace_id"] else None
            yield DeadLetter(row["reason"], some_text(row["detail"]), unpack(row["body"]), trace_id)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[None]:
        """One task's statements, all on the same state of the database."""
        async with self._turn:
            try:
                async with transaction(self._connection, "DEFERRED"):
                    yield
            except sqlite3.Error as exc:
                raise store_error(exc, self.path) from exc

    async def _fetch(self, sql: str, parameters: dict[str, object] | None = None) -> list[sqlite3.Row]:
        return list(await self._connection.execute_fetchall(sql, parameters or {}))

    async def _newest_row(self) -> int:
        async with self._snapshot():
            rows = await self._fetch("SELECT coalesce(max(number), 0) FROM traces")
        return int(rows[0][0])

    async def _load(self, rows: list[sqlite3.Row]) -> list[Trace]:
        """Join rows of `traces` with all that hangs on them, in a fixed number of statements."""
        numbers = [row["number"] for row in rows]
        tags = await self._tags(numbers)
        usages = {row[0]: row[1] for row in await self._fetch(USAGES_OF, number_list(numbers))}
        reply_rows: dict[int, list[sqlite3.Row]] = defaultdict(list)
        wanted_nodes = {row["request_node"] for row in rows}
        wanted_blobs = {row[column] for row in rows for column in _BLOB_COLUMNS}
        for reply in await self._fetch(REPLIES_OF, number_list(numbers)):
            reply_rows[reply["trace"]].append(reply)
            wanted_nodes.add(reply["node"])
            wanted_blobs.add(reply["logprobs_blob"])
        packed_blobs = await self._fetch(BLOBS_OF, number_list(filter(None, wanted_blobs)))
        blobs = {row[0]: unpack(row[1]) for row in packed_blobs}
        history = await self._history(filter(None, wanted_nodes))
        try:
            return [
                trace_of(
                    row,
                    messages=history.messages(row["request_node"]),
                    replies=tuple(_reply(reply, history, blobs) for reply in reply_rows[row["number"]]),
                    usage=usages.get(row["number"]),
                    tags=tags[row["number"]],
                    blobs=blobs,
                )
                for row in rows
            ]
        except KeyError as exc:
            raise CorruptDatabaseError(
                f"{self.path}: a trace points at a message or value that is not there. Restore a backup.", self.path
            ) from exc

    async def _history(self, nodes: Iterable[int]) -> "_History":
        history = _History()
        packed = await self._fetch(NODES_UP_FROM, number_list(nodes))
        cuts: dict[int, list[Cut]] = defaultdict(list)
        for row in await self._fetch(NODE_BLOBS_OF, number_list(row["number"] for row in packed)):
            cuts[row["node"]].append(Cut(row["offset"], unpack(row["body"])))
        for row in packed:
            history.parents[row["number"]] = row["parent"]
            history.texts[row["number"]] = put_back(unpack(row["body"]), cuts.get(row["number"], []))
        return history

    async def _tags(self, numbers: list[int]) -> defaultdict[int, dict[str, str]]:
        return _tags_by_trace(await self._fetch(TAGS_OF, number_list(numbers)))


def _next_rows(
    where: Filter | None, order: Order, place: Place, count: int, newest_row: int
) -> Callable[[sqlite3.Connection], Found]:
    return lambda db: Scan(db, where, order, newest_row=newest_row).look(place, count)


def _page(db: sqlite3.Connection, where: Filter | None, order: Order, place: Place, limit: int) -> TracePage:
    scan = Scan(db, where, order)
    rows, end = scan.look(place, limit + 1, seconds=_PAGE_S)
    if len(rows) > limit:
        rows = rows[:limit]
        end = order.place_of(rows[-1]) if rows else place
    numbers = [row["number"] for row in rows]
    reasons: dict[int, list[str | None]] = defaultdict(list)
    for row in db.execute(FINISH_REASONS_OF, number_list(numbers)):
        reasons[row["trace"]].append(from_blob(row["finish_reason"]))
    tags = _tags_by_trace(db.execute(TAGS_OF, number_list(numbers)))
    costs = dict(tuple(row) for row in db.execute(COSTS_OF, number_list(numbers)))
    summaries = [
        summary_of(row, tuple(reasons[row["number"]]), tags[row["number"]], costs.get(row["number"])) for row in rows
    ]
    page = TracePage(summaries, None if end is None else to_cursor(order, end))
    if not scan.texts:
        return page
    snippets = scan.texts.snippets(numbers)
    ids = {row["number"]: UUID(bytes=row["id"]) for row in rows}
    return page._replace(
        search_behind=search_state(db).behind, snippets={ids[number]: text for number, text in snippets.items()}
    )


def _tags_by_trace(rows: Iterable[sqlite3.Row]) -> defaultdict[int, dict[str, str]]:
    tags: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for row in rows:
        tags[row["trace"]][some_text(row["name"])] = some_text(row["value"])
    return tags


class _History:
    """Messages of a batch by node, each with its parent."""

    def __init__(self) -> None:
        self.parents: dict[int, int | None] = {}
        self.texts: dict[int, JsonText] = {}

    def messages(self, node: int | None) -> tuple[JsonText, ...]:
        """Give the messages from the first down to this node."""
        found: list[JsonText] = []
        while node is not None:
            found.append(self.texts[node])
            node = self.parents[node]
        return tuple(reversed(found))


def _reply(row: sqlite3.Row, history: _History, blobs: dict[int, bytes]) -> Reply:
    logprobs = row["logprobs_blob"]
    return Reply(
        index=row["choice_index"],
        message=history.texts[row["node"]],
        finish_reason=from_blob(row["finish_reason"]),
        logprobs=None if logprobs is None else blobs[logprobs],
    )


def _by_size(rows: list[sqlite3.Row]) -> Iterator[list[sqlite3.Row]]:
    group: list[sqlite3.Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += row["request_bytes"] + row["response_bytes"]
        if size >= _BATCH_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _totals(db: sqlite3.Connection) -> dict[str, Any]:
    totals: dict[str, Any] = dict(db.execute(_STORE).fetchone())
    for name in ("first_at", "last_at"):
        totals[name] = None if totals[name] is None else from_micros(totals[name])
    return {**totals, **count_traces(db)}


def _bytes_on_disk(path: Path) -> int:
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
