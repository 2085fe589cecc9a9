"""From words to traces: which traces hold a message that matches.

A trace holds a message when the message is on the way up from the trace's last one, or is one of its replies. Where
few messages match, all traces below them are found by going down the tree. Where many do, or one that stands above very
many traces (a system prompt), going down never ends; then some traces at a time are asked what stands above them.
"""

# ruff: noqa: S608 - names of tables are made of numbers of parts.
import json
import sqlite3
from collections.abc import Iterable, Mapping

from store.body import Cut, put_back, unpack
from store.id_list import NODE_BLOBS_OF, number_list
from store.search_query import SearchOffError, SearchQuery
from store.search_text import message_text, snippet

MOST_NODES = 1_000
"""More messages than these are not followed down."""
MOST_BELOW = 4_000

_CHUNK_NODES = 4096
_PARTS = """
    SELECT number, first_node, indexed_node FROM search_parts
    WHERE replaces IS NULL AND state IN ('growing', 'full', 'merging', 'whole', 'stale') ORDER BY first_node DESC
"""
_CHILDREN = """
    SELECT n.number FROM json_each(:numbers) w CROSS JOIN nodes n INDEXED BY nodes_by_parent ON n.parent = w.value
    LIMIT :most
"""
_TRACES_AT = """
    SELECT t.number FROM json_each(:numbers) w CROSS JOIN traces t ON t.request_node = w.value
    UNION
    SELECT r.trace FROM json_each(:numbers) w CROSS JOIN replies r ON r.node = w.value
    LIMIT :most
"""
_LAST_NODES = """
    SELECT t.number, t.request_node FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value
    WHERE t.request_node IS NOT NULL
    UNION ALL
    SELECT r.trace, r.node FROM json_each(:numbers) w CROSS JOIN replies r ON r.trace = w.value
"""
_UP = """
    WITH RECURSIVE path (number, parent) AS (
        SELECT n.number, n.parent FROM json_each(:numbers) w CROSS JOIN nodes n ON n.number = w.value
        UNION
        SELECT n.number, n.parent FROM path p CROSS JOIN nodes n ON n.number = p.parent
    )
    SELECT number, parent FROM path
"""


class TextMatches:
    """What the index says, within one transaction."""

    def __init__(self, db: sqlite3.Connection, searches: Mapping[str, SearchQuery]) -> None:
        """Prepare; `searches` by the parameters that stand for them.

        Raises:
            SearchOffError: Texts are not indexed.
        """
        self._db = db
        if searches and not db.execute("SELECT is_on FROM search_settings").fetchone()[0]:
            raise SearchOffError
        self._parts = db.execute(_PARTS).fetchall() if searches else []
        self._searches = {name: _Search(db, query, self._parts) for name, query in searches.items()}

    def __bool__(self) -> bool:
        """Tell whether anything is looked for."""
        return bool(self._searches)

    def all_of(self, name: str) -> list[int] | None:
        """Give the numbers of all traces that match; None where they are too many to go through."""
        return self._searches[name].traces()

    def among(self, traces: Iterable[int]) -> dict[str, str]:
        """Tell which of these traces match, as the parameters that a filter needs."""
        wanted = list(traces)
        found = {name: search.traces() for name, search in self._searches.items()}
        if None in found.values():
            paths = _Paths(self._db, wanted)
            for name, search in self._searches.items():
                if found[name] is None:
                    found[name] = [number for number in wanted if paths.holds(number, search)]
        return {name: json.dumps(numbers) for name, numbers in found.items()}

    def snippets(self, traces: Iterable[int]) -> dict[int, str]:
        """Give a short stretch of the last message that matches, for each of these traces that has one."""
        wanted = list(traces)
        paths = _Paths(self._db, wanted)
        places: dict[int, tuple[int, SearchQuery]] = {}
        for number in wanted:
            for search in self._searches.values():
                if (node := paths.holds(number, search)) is not None:
                    places.setdefault(number, (node, search.query))
        texts = _texts(self._db, {node for node, _ in places.values()})
        return {number: snippet(texts[node], query.words) for number, (node, query) in places.items()}


class _Search:
    """One query's matches, read as far as they are asked for."""

    def __init__(self, db: sqlite3.Connection, query: SearchQuery, parts: list[tuple[int, int, int]]) -> None:
        self._db = db
        self.query = query
        self._parts = [tuple(part) for part in parts]
        self._chunks: dict[int, frozenset[int]] = {}
        self._all: frozenset[int] | None = None
        self._traces: list[int] | None = None
        self._has_tried = False

    def traces(self) -> list[int] | None:
        if not self._has_tried:
            self._has_tried = True
            self._traces = self._below()
        return self._traces

    def matches(self, node: int) -> bool:
        if self._all is not None:
            return node in self._all
        chunk = node // _CHUNK_NODES
        if chunk not in self._chunks:
            first, last = chunk * _CHUNK_NODES, (chunk + 1) * _CHUNK_NODES - 1
            found: list[int] = []
            for number, start, end in self._parts:
                if start <= last and end >= first:
                    found += self._ask(
                        number, "AND rowid BETWEEN :first AND :last", first=max(first, start), last=min(last, end)
                    )
            self._chunks[chunk] = frozenset(found)
        return node in self._chunks[chunk]

    def _below(self) -> list[int] | None:
        """Give the traces below all matches."""
        found: list[int] = []
        for number, _, end in self._parts:
            # Behind its end a part may hold words of messages that are no more.
            found += self._ask(number, "AND rowid <= :end LIMIT :most", end=end, most=MOST_NODES + 1 - len(found))
            if len(found) > MOST_NODES:
                return None
        self._all = frozenset(found)
        # Level by level: a recursive statement takes in all children of a node before it looks at a limit.
        below = set(found)
        while found:
            found = [node for node in self._numbers(_CHILDREN, found) if node not in below]
            below.update(found)
            if len(below) > MOST_BELOW:
                return None
        traces = self._numbers(_TRACES_AT, below)
        return traces if len(traces) <= MOST_BELOW else None

    def _numbers(self, sql: str, numbers: Iterable[int]) -> list[int]:
        return [row[0] for row in self._db.execute(sql, {**number_list(numbers), "most": MOST_BELOW + 1})]

    def _ask(self, part: int, more: str, **parameters: int) -> list[int]:
        table = f"search_words_{part}"
        sql = f"SELECT rowid FROM {table} WHERE {table} MATCH :query {more}"
        return [row[0] for row in self._db.execute(sql, {"query": self.query.expression, **parameters})]


class _Paths:
    """What stands above some traces, and their replies."""

    def __init__(self, db: sqlite3.Connection, traces: list[int]) -> None:
        self._last: dict[int, list[int]] = {}
        for trace, node in db.execute(_LAST_NODES, number_list(traces)):
            self._last.setdefault(trace, []).append(node)
        lasts = {node for nodes in self._last.values() for node in nodes}
        self._parents = dict(db.execute(_UP, number_list(lasts)).fetchall())
        self._known: dict[_Search, dict[int, int | None]] = {}

    def holds(self, trace: int, search: _Search) -> int | None:
        """Give the last message of a trace that matches, None when none does."""
        found = [node for last in self._last.get(trace, ()) if (node := self._nearest(last, search)) is not None]
        return max(found, default=None)

    def _nearest(self, last: int, search: _Search) -> int | None:
        known = self._known.setdefault(search, {})
        passed: list[int] = []
        node: int | None = last
        while node is not None and node not in known:
            if search.matches(node):
                known[node] = node
                break
            passed.append(node)
            node = self._parents.get(node)
        found = None if node is None else known[node]
        known.update(dict.fromkeys(passed, found))
        return found


def _texts(db: sqlite3.Connection, nodes: Iterable[int]) -> dict[int, str]:
    wanted = number_list(nodes)
    cuts: dict[int, list[Cut]] = {}
    for node, offset, body in db.execute(NODE_BLOBS_OF, wanted):
        cuts.setdefault(node, []).append(Cut(offset, unpack(body)))
    sql = "SELECT n.number, n.body FROM json_each(:numbers) w CROSS JOIN nodes n ON n.number = w.value"
    return {node: message_text(put_back(unpack(body), cuts.get(node, []))) for node, body in db.execute(sql, wanted)}
