"""Deriving every id again from the stored text, and following every reference.

Each message is hashed under the id and the stitch key that its parent is *stored* with; since the parent's own are
derived from its text as well, all of a chain is right when every link is. So nothing but one page of rows is ever held
in memory, and no snapshot is kept longer than it takes to read a page: a server beside it goes on.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from store import finding
from store.body import Cut, blob_id, put_back, unpack
from store.finding import Finding
from store.json_text import JsonTextError
from store.tree import Link, chain

_PAGE_ROWS = 2000
_MOST_NAMED = 100
"""Mismatches that are named; the others are counted."""

Progress = Callable[[int, int], None]
"""Told after each page: rows that are done, rows in all."""

_NODES = """
    SELECT n.rowid AS row, n.id, n.stitch_key, n.role, n.body, n.body_bytes, n.parent IS NOT NULL AS has_parent,
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
    SELECT t.number AS row, t.id, t.request_node IS NOT NULL AS has_request, q.id AS request_id,
           r.position, n.id AS node_id, n.parent IS q.number AS is_child
    FROM (SELECT number, id, request_node FROM traces WHERE number > :after ORDER BY number LIMIT :count) t
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

    def mismatch(self, sentence: str) -> None:
        """Note a text that does not give its id."""
        self.wrong += 1
        if len(self.mismatches) < _MOST_NAMED:
            self.mismatches.append(sentence)

    def dangle(self, sentence: str) -> None:
        """Note a reference to nothing."""
        self.missing += 1
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
    done = Verification()
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
        if row["has_parent"] and row["parent_id"] is None:
            done.dangle(f"message {row['id'].hex()} has a parent that is not there")
        elif (fault := _node_fault(row, cuts.get(row["row"], []))) is not None:
            done.mismatch(f"message {row['id'].hex()} ({fault})")
    return last


def _node_fault(row: sqlite3.Row, cuts: list[Cut]) -> str | None:
    """Say what of a message is not as derived, None when all is."""
    shortened = _unpacked(row["body"])
    if shortened is None:
        return "its text cannot be unpacked"
    text = put_back(shortened, cuts)
    before = Link(row["parent_id"], None, row["parent_key"], b"") if row["has_parent"] else None
    try:
        (link,) = chain([text], after=before)
    except JsonTextError:
        return "its text is not JSON"
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
    for row in connection.execute(_REPLIES, {"after": after, "count": _PAGE_ROWS}):
        if row["row"] != last:
            last = int(row["row"])
            done.traces += 1
            if row["has_request"] and row["request_id"] is None:
                done.dangle(f"trace {UUID(bytes=row['id'])} has a request that is not there")
        if row["position"] is None:
            continue
        if row["node_id"] is None:
            done.dangle(f"trace {UUID(bytes=row['id'])} has a reply that is not there")
        elif not row["is_child"]:
            done.dangle(f"trace {UUID(bytes=row['id'])} has a reply that does not follow its request")
    return last


def _verify_totals(connection: sqlite3.Connection, done: Verification) -> None:
    """Hold the counts that are kept beside the rows against the rows, in one statement and so one state."""
    for name, kept, counted in connection.execute(_TOTALS):
        if kept != counted:
            done.mismatch(f"the total of {name} ({kept:,} instead of {counted:,})")


def _verify_references(connection: sqlite3.Connection, done: Verification) -> None:
    """Have SQLite follow every reference that the schema declares; those told above are passed over."""
    told = {("nodes", "nodes"), ("traces", "nodes"), ("replies", "nodes")}
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        if (table, parent) not in told:
            place = "" if row is None else f" {row}"
            done.dangle(f"row{place} of {table} points at a row of {parent} that is not there")


def _unpacked(body: bytes | None) -> bytes | None:
    try:
        return None if body is None else unpack(body)
    except ValueError:
        return None


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - one of three names


def _newest(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0])  # noqa: S608
