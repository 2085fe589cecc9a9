"""The verification of a store finds every planted damage: in each byte of text, each derived column, each reference."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from store.body import unpack
from store.reference_check import references
from store.trace import DeadLetter, Outcome, Reply
from store.trace_writer import TraceWriter
from store.verify import Verification, verify
from tests.store.test_migration import IMAGE, traces_of_all_kinds
from tests.store.traces import make_trace

CALL = (
    b'{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function",'
    b'"function":{"name":"f","arguments":"{}"}}]}'
)
DERIVED = {
    "nodes": {"number", "id", "parent", "stitch_key", "role", "body_bytes", "body"},
    "blobs": {"number", "id", "body_bytes", "body"},
    "node_blobs": {"node", "offset", "blob"},
    "totals": {"nodes", "blobs", "body_bytes"},
    "usages": {"trace"},
    "replies": {"trace", "node", "logprobs_blob"},
    "tags": {"trace"},
    "traces": {
        "outcome", "is_complete", "request_node", "message_count", "has_tool_calls", "tools_blob",
        "response_format_blob", "parameters_blob", "metadata_blob", "error_blob", "flags",
    },
}  # fmt: skip
"""Columns that follow from others, or lead to them; each is damaged below."""
FACTS = {
    "usages": {"body"},
    "replies": {"position", "choice_index", "finish_reason"},
    "tags": {"name", "position", "value"},
    "traces": {
        "number", "id", "created_at", "endpoint", "method", "path", "route", "upstream", "status", "is_streaming",
        "requested_model", "served_model", "prompt_tokens", "completion_tokens", "ttft_ms", "duration_ms",
        "upstream_id", "request_id", "system_fingerprint", "session", "user", "key_fingerprint", "request_bytes",
        "response_bytes",
    },
}  # fmt: skip
"""What nothing else in the store tells, or not always: no verification can find it changed."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with a row in every table that refers to another."""
    path = tmp_path_factory.mktemp("verify") / "traces.db"
    calling = make_trace(
        80, messages=(IMAGE, b'{"role":"user","content":"go"}'), replies=(Reply(0, CALL, "tool_calls"),), session="s"
    )

    async def fill() -> None:
        async with await TraceWriter.open(path) as writer:
            await writer.write([*traces_of_all_kinds(), calling], [DeadLetter("torn", "d", b"x")])

    asyncio.run(fill())
    with closing(sqlite3.connect(path)) as connection:
        return connection.serialize()


@pytest.fixture
def connection(database: bytes) -> Iterator[sqlite3.Connection]:
    # A database in memory can have no log.
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        memory.deserialize(database[:18] + b"\x01\x01" + database[20:])
        memory.row_factory = sqlite3.Row
        yield memory


def checked(connection: sqlite3.Connection) -> Verification:
    return verify(connection, lambda _done, _total: None)


@contextmanager
def damage(connection: sqlite3.Connection, sql: str, *parameters: object) -> Iterator[int]:
    """Change rows, past all checks, and undo it."""
    connection.execute("BEGIN")
    try:
        yield connection.execute(sql, parameters).rowcount
    finally:
        connection.execute("ROLLBACK")


def is_found(connection: sqlite3.Connection) -> bool:
    done = checked(connection)
    return [each.kind.name for each in done.findings()] != ["verified"]


def test_what_is_whole_is_found_whole(connection: sqlite3.Connection) -> None:
    done = checked(connection)
    assert (done.mismatches, done.dangling) == ([], [])
    assert (done.traces, done.messages > 10, done.blobs > 4) == (9, True, True)


def test_each_column_is_derived_or_a_fact(connection: sqlite3.Connection) -> None:
    """A new column has to be put into one of the two lists, and then be damaged or given up."""
    for table, derived in DERIVED.items():
        columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
        assert columns == derived | FACTS.get(table, set()), table


@pytest.mark.parametrize(
    "place", [f"{table}.{column}" for table, columns in DERIVED.items() for column in sorted(columns)]
)
def test_another_value_in_a_derived_column_is_found_in_every_row(connection: sqlite3.Connection, place: str) -> None:
    table, column = place.split(".")
    key = {"node_blobs": "node", "totals": "nodes", "replies": "trace", "tags": "trace", "usages": "trace"}
    name = key.get(table, "number")
    keys = [row[0] for row in connection.execute(f"SELECT DISTINCT {name} FROM {table}")]  # noqa: S608
    damaged = 0
    for number in keys:
        (old,) = connection.execute(f"SELECT {column} FROM {table} WHERE {name} = ?", (number,)).fetchone()  # noqa: S608
        for new in other_values(column, old):
            with damage(connection, f"UPDATE {table} SET {column} = ? WHERE {name} = ?", new, number):  # noqa: S608
                assert is_found(connection), f"{place}: {old!r} -> {new!r}"
                damaged += 1
    assert damaged


def other_values(column: str, old: object) -> list[object]:
    match column, old:
        case ("parent" | "request_node", None):
            return [10**6]
        case (("tools_blob" | "response_format_blob" | "metadata_blob" | "error_blob" | "logprobs_blob"), None):
            return [10**6]
        case ("flags", _):
            return ["no_such_flag", f"{old},no_such_flag" if old else "no_such_flag"]
        case ("outcome", _):
            return ["no such outcome"]
        case ("is_complete" | "has_tool_calls", _):
            return [1 - int(str(old))]
        case ("role", _):
            return [b"other"]
        case (_, int()):
            return [10**6 + int(old)]
        case (_, bytes()):
            return [old[:-1] + bytes([old[-1] ^ 1]), b""]
        case _:
            return []


def test_another_outcome_or_endpoint_of_a_complete_trace_is_found(connection: sqlite3.Connection) -> None:
    for column, new in (("outcome", Outcome.INTERRUPTED.value), ("endpoint", None), ("flags", "stream_unfinished")):
        with damage(connection, f"UPDATE traces SET {column} = ? WHERE is_complete", new) as rows:  # noqa: S608
            assert rows > 3
            assert checked(connection).wrong == rows


def test_every_byte_of_every_text_counts(connection: sqlite3.Connection) -> None:
    harmless = tried = 0
    for table in ("nodes", "blobs"):
        for number, body in connection.execute(f"SELECT number, body FROM {table}").fetchall():  # noqa: S608
            for at in range(len(body)):
                changed = body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]
                tried += 1
                if unpacked(changed) == unpack(body):
                    harmless += 1  # some bits of a frame's head say nothing about its content
                    continue
                with damage(connection, f"UPDATE {table} SET body = ? WHERE number = ?", changed, number):  # noqa: S608
                    assert is_found(connection), (table, number, at)
    assert tried > 500
    assert harmless < tried / 50


def unpacked(body: bytes) -> bytes | None:
    try:
        return unpack(body)
    except ValueError:
        return None


def test_every_reference_that_leads_nowhere_is_found(connection: sqlite3.Connection) -> None:
    """Those of every table that there is, whoever added it, by what the schema says of them."""
    found = references(connection)
    places = {(each.table, each.column) for each in found}
    assert {("traces", "tools_blob"), ("replies", "logprobs_blob"), ("tags", "trace"), ("node_blobs", "blob")} <= places
    bare = []
    for table, column, *_ in found:
        connection.execute("PRAGMA foreign_keys = OFF")
        condition = f'"{column}" = (SELECT min("{column}") FROM "{table}")'  # noqa: S608
        with damage(connection, f'UPDATE "{table}" SET "{column}" = 987654321 WHERE {condition}') as rows:  # noqa: S608
            if rows:
                assert is_found(connection), (table, column)
            else:
                bare.append((table, column))
    assert not {(each.table, each.column) for each in found if each.is_declared} & set(bare)


@pytest.mark.parametrize("table", ["nodes", "blobs", "traces", "replies", "node_blobs"])
def test_a_row_that_is_gone_is_found_whichever_it_is(connection: sqlite3.Connection, table: str) -> None:
    key = {"nodes": "number", "blobs": "number", "traces": "number", "replies": "trace", "node_blobs": "node"}[table]
    numbers = [row[0] for row in connection.execute(f"SELECT DISTINCT {key} FROM {table}")]  # noqa: S608
    unseen = []
    for number in numbers:
        with damage(connection, f"DELETE FROM {table} WHERE {key} = ?", number):  # noqa: S608
            if not is_found(connection):
                unseen.append(number)
    # A trace to which nothing leads, or one without replies, is as if it had never been.
    assert not unseen if table in ("nodes", "blobs", "node_blobs", "replies") else len(unseen) < len(numbers)


async def test_what_comes_in_meanwhile_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([make_trace(1, messages=(b'{"role":"user","content":"a"}',))])
        with closing(sqlite3.connect(path)) as reading:
            reading.row_factory = sqlite3.Row
            done = checked(reading)
            assert (done.wrong, done.missing) == (0, 0)
            done.marks.clear()
        await writer.write([make_trace(2, messages=(b'{"role":"user","content":"b"}',))])
