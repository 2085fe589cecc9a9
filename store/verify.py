"""Deriving every id again from the stored text, and following every reference.

Each message is hashed under the id and the stitch key that its parent is *stored* with; since the parent's own are
derived from its text as well, all of a chain is right when every link is. So nothing is held in memory but one page of
rows and a byte for each message, and no snapshot is kept longer than it takes to read a page: a server beside it goes
on.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from store import finding
from store.body import Cut, blob_id, put_back, unpack
from store.finding import Finding
from store.json_text import JsonTextError
from store.reference_check import dangling
from store.trace import Flag, Outcome, Reply, Trace
from store.tree import Link, chain

_PAGE_ROWS = 2000
_MOST_NAMED = 100
"""Mismatches that are named; the others are counted."""

Progress = Callable[[int, int], None]
"""Told after each page: rows that are done, rows in all."""

_DEPTHS = 127
"""Depths of messages go from 1 to this and begin again, so that one fits into a byte together with a truth."""

_WITHOUT_CONTENT = "content_expired"
_TRACE = Trace(UUID(int=0), datetime.min.replace(tzinfo=UTC), "", "", "", "", Outcome.COMPLETED)
_REPLY = Reply(0, b"")

_NODES = """
    SELECT n.rowid AS row, n.parent, n.id, n.stitch_key, n.role, n.body, n.body_bytes,
           p.id AS parent_id, p.stitch_key AS parent_key
    FROM nodes n LEFT JOIN nodes p ON p.number = n.parent
    WHERE n.rowid > :after ORDER BY n.rowid LIMIT :count
"""
_CUTS = """
    SELECT n.rowid AS row, c.offset, b.id AS blob_id, b.body
    FROM nodes n JOIN node_blobs c ON c.node = n.number LEFT JOIN blobs b ON b.number = c.blob
    WHERE n.rowid > :after AND n.rowid <= :last ORDER BY n.rowid, c.offset
"""
_BLOBS = """
    SELECT rowid AS row, id, body, body_bytes FROM blobs WHERE rowid > :after ORDER BY rowid LIMIT :count
"""
# A reply is a child of its request's last message; the outer joins tell which of the two is missing.
_REPLIES = """
    SELECT t.number AS row, t.id, t.request_node, q.id AS request_id, t.message_count, t.has_tool_calls, t.is_complete,
           t.endpoint, t.outcome, t.flags, r.position, r.node, n.id AS node_id, n.parent IS q.number AS is_child
    FROM (SELECT * FROM traces WHERE number > :after ORDER BY number LIMIT :count) t
    LEFT JOIN nodes q ON q.number = t.request_node
    LEFT JOIN replies r ON r.trace = t.number
    LEFT JOIN nodes n ON n.number = r.node
    ORDER BY t.number, r.position
"""
_TOTALS = """
    SELECT 'messages', nodes, (SELECT count(*) FROM nodes) FROM totals
    UNION ALL SELECT 'values', blobs, (SELECT count(*) FROM blobs) FROM totals
    UNION ALL SELECT 'bytes', body_bytes, (SELECT coalesce(sum(body_bytes), 0) FROM nodes)
                                          + (SELECT coalesce(sum(body_bytes), 0) FROM blobs) FROM totals
"""


@dataclass
class Verification:
    """What was checked, and what was found wrong.

    Attributes:
        mismatches: Sentences with ids and no content, the first of them; `wrong` counts all.
    """

    messages: int = 0
    blobs: int = 0
    traces: int = 0
    wrong: int = 0
    missing: int = 0
    mismatches: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    marks: bytearray = field(default_factory=bytearray)
    """By its number, of each message: its depth, see `_DEPTHS`, and in the lowest bit whether it calls tools. 0 where
    nobody can tell, which is a fault that is told."""

    def mismatch(self, sentence: str) -> None:
        """Note a text that does not give its id."""
        self.wrong += 1
        if len(self.mismatches) < _MOST_NAMED:
            self.mismatches.append(sentence)

    def dangle(self, sentence: str, count: int = 1) -> None:
        """Note references to nothing."""
        self.missing += count
        if len(self.dangling) < _MOST_NAMED:
            self.dangling.append(sentence)

    def findings(self) -> Iterator[Finding]:
        """Tell it as findings: one sentence for each kind, the ids among the facts."""
        checked = f"{self.messages:,} messages, {self.blobs:,} values and {self.traces:,} traces"
        facts = {"messages": self.messages, "blobs": self.blobs, "traces": self.traces}
        if self.wrong:
            what = f"{self.wrong:,} of {checked} do not give their id again; the first: {self.mismatches[0]}."
            yield Finding(finding.ID_MISMATCH, what, {**facts, "count": self.wrong, "found": self.mismatches})
        if self.missing:
            what = f"{self.missing:,} references among {checked} lead nowhere; the first: {self.dangling[0]}."
            yield Finding(finding.REFERENCE_MISSING, what, {**facts, "count": self.missing, "found": self.dangling})
        if not self.wrong and not self.missing:
            yield Finding(finding.VERIFIED, f"{checked}: every id derived again, every reference followed.", facts)


def verify(connection: sqlite3.Connection, progress: Progress) -> Verification:
    """Check everything in the store; what is written meanwhile may be in or not.

    Args:
        connection: A database of today's schema, with rows that can be taken by name.
        progress: Told how far it is.

    Raises:
        sqlite3.Error: The database cannot be read.
    """
    done = Verification(marks=bytearray(_newest(connection, "nodes") + 1))
    total = sum(_count(connection, table) for table in ("nodes", "blobs", "traces"))
    for table, check in (("nodes", _verify_nodes), ("blobs", _verify_blobs), ("traces", _verify_traces)):
        # What comes in behind this row is not looked at, so that it ends however fast a writer is.
        after, newest = 0, _newest(connection, table)
        while after < newest:
            last = check(connection, after, done)
            if last is None:
                break
            after = last
            progress(min(total, done.messages + done.blobs + done.traces), total)
    _verify_totals(connection, done)
    _verify_references(connection, done)
    progress(total, total)
    return done


def _verify_nodes(connection: sqlite3.Connection, after: int, done: Verification) -> int | None:
    rows = connection.execute(_NODES, {"after": after, "count": _PAGE_ROWS}).fetchall()
    if not rows:
        return None
    last = int(rows[-1]["row"])
    cuts: dict[int, list[Cut]] = defaultdict(list)
    for cut in connection.execute(_CUTS, {"after": after, "last": last}):
        # A value that is missing is a reference's fault, and one that is damaged the value's own.
        cuts[cut["row"]].append(Cut(cut["offset"], _unpacked(cut["body"]) or b""))
    for row in rows:
        done.messages += 1
        if row["parent"] is not None and row["parent_id"] is None:
            done.dangle(f"message {row['id'].hex()} has a parent that is not there")
        elif (fault := _node_fault(row, cuts.get(row["row"], []), done.marks)) is not None:
            done.mismatch(f"message {row['id'].hex()} ({fault})")
    return last


def _node_fault(row: sqlite3.Row, cuts: list[Cut], marks: bytearray) -> str | None:
    """Say what of a message is not as derived, None when all is, and mark it."""
    number, parent = row["row"], row["parent"]
    if parent is not None and parent >= number:
        return "its parent comes after it"
    shortened = _unpacked(row["body"])
    if shortened is None:
        return "its text cannot be unpacked"
    text = put_back(shortened, cuts)
    before = None if parent is None else Link(row["parent_id"], None, row["parent_key"], b"")
    try:
        (link,) = chain([text], after=before)
    except JsonTextError:
        return "its text is not JSON"
    if number < len(marks) and (parent is None or marks[parent]):
        depth = 1 if parent is None else _below(marks[parent] >> 1)
        marks[number] = depth << 1 | link.has_tool_calls
    role = None if link.role is None else link.role.encode("utf-8", "surrogatepass")
    for name, stored, derived in (
        ("id", row["id"], link.id),
        ("stitch key", row["stitch_key"], link.key),
        ("role", row["role"], role),
        ("size", row["body_bytes"], len(text)),
    ):
        if stored != derived:
            return f"its {name} is another"
    return None


def _verify_blobs(connection: sqlite3.Connection, after: int, done: Verification) -> int | None:
    last = None
    for row in connection.execute(_BLOBS, {"after": after, "count": _PAGE_ROWS}):
        last = int(row["row"])
        done.blobs += 1
        body = _unpacked(row["body"])
        if body is None:
            done.mismatch(f"value {row['id'].hex()} (it cannot be unpacked)")
        elif blob_id(body) != row["id"]:
            done.mismatch(f"value {row['id'].hex()} (its id is another)")
        elif len(body) != row["body_bytes"]:
            done.mismatch(f"value {row['id'].hex()} (its size is another)")
    return last


def _verify_traces(connection: sqlite3.Connection, after: int, done: Verification) -> int | None:
    last = None
    found = connection.execute(_REPLIES, {"after": after, "count": _PAGE_ROWS})
    for number, group in groupby(found, key=itemgetter("row")):
        last = int(number)
        done.traces += 1
        _verify_trace(list(group), done)
    return last


def _verify_trace(rows: list[sqlite3.Row], done: Verification) -> None:
    """Check a trace by its rows, one for each reply and at least one."""
    trace, replies = rows[0], [row for row in rows if row["position"] is not None]
    name = f"trace {UUID(bytes=trace['id'])}"
    if trace["request_node"] is not None and trace["request_id"] is None:
        done.dangle(f"{name} has a request that is not there")
        return
    for reply in replies:
        if reply["node_id"] is None:
            done.dangle(f"{name} has a reply that is not there")
        elif not reply["is_child"]:
            done.dangle(f"{name} has a reply that does not follow its request")
    fault = _trace_fault(trace, replies, done.marks)
    if fault is not None:
        done.mismatch(f"{name} ({fault})")


def _trace_fault(trace: sqlite3.Row, replies: list[sqlite3.Row], marks: bytearray) -> str | None:
    """Say what of a trace does not follow from the rest of it, None when all does."""
    nodes = [trace["request_node"] or 0, *[reply["node"] for reply in replies]]
    flags = [name for name in trace["flags"].split(",") if name]
    if max(nodes) >= len(marks) or not all(marks[node] for node in nodes if node) or _WITHOUT_CONTENT in flags:
        return None  # it came in meanwhile, a message's fault was told, or it tells what retention has taken
    count = trace["message_count"]
    if (count and _below(count - 1)) != marks[nodes[0]] >> 1:
        return "its count of messages is another"
    if trace["has_tool_calls"] != any(marks[node] & 1 for node in nodes[1:]):
        return "its replies call tools, or do not"
    try:
        known = replace(
            _TRACE,
            endpoint=trace["endpoint"],
            outcome=Outcome(trace["outcome"]),
            flags=frozenset(map(Flag, flags)),
            messages=(b"",) * bool(nodes[0]),
            replies=(_REPLY,) * len(replies),
        )
    except ValueError:
        return "its outcome or a flag is none"
    return None if trace["is_complete"] == known.is_complete else "it is complete, or is not"


def _below(depth: int) -> int:
    """Give the depth of the next message."""
    return depth % _DEPTHS + 1


def _verify_totals(connection: sqlite3.Connection, done: Verification) -> None:
    """Hold the counts that are kept beside the rows against the rows, in one statement and so one state."""
    for name, kept, counted in connection.execute(_TOTALS):
        if kept != counted:
            done.mismatch(f"the total of {name} ({kept:,} instead of {counted:,})")


def _verify_references(connection: sqlite3.Connection, done: Verification) -> None:
    """Follow every reference of every table; those told above are passed over."""
    told = {("nodes", "parent"), ("traces", "request_node"), ("replies", "node")}
    for (table, column, target, *_), count in dangling(connection):
        if (table, column) not in told:
            rows = f"a row of {table} points" if count == 1 else f"{count:,} rows of {table} point"
            done.dangle(f"{rows} at a row of {target} that is not there ({column})", count)


def _unpacked(body: bytes | None) -> bytes | None:
    try:
        return None if body is None else unpack(body)
    except ValueError:
        return None


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - one of three names


def _newest(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0])  # noqa: S608
