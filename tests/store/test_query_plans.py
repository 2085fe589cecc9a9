"""The questions of lists, look-ups and statistics go by an index, however many traces there are."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from store import id_list, trace_feed, trace_reader
from store.database import TRACES
from store.filter import parse_filter
from store.trace_order import selection_sql

BY_TIME = "SEARCH t USING INDEX traces_by_time"
RIGHT_PART = "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"
"""Sorts the traces of one microsecond."""


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TRACES.sql())
        yield connection


def plan(database: sqlite3.Connection, sql: str) -> list[str]:
    parameters = dict.fromkeys(re.findall(r":(\w+)", sql))
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(
    ("expression", "index"),
    [
        ("session = a", "traces_by_session (session=? AND created_at"),
        ("user = a", "traces_by_user (user=? AND created_at"),
        ("outcome = upstream_error", "traces_by_outcome (outcome=? AND created_at"),
        ("requested_model = a", "traces_by_requested_model (requested_model=? AND created_at"),
        ("served_model = a", "traces_by_served_model (served_model=? AND created_at"),
        ("user = a and status >= 500 and not stream", "traces_by_user (user=? AND created_at"),
    ],
)
def test_a_named_thing_is_found_by_its_index_in_the_order_of_time(
    database: sqlite3.Connection, expression: str, index: str, *, newest_first: bool
) -> None:
    first, *rest = plan(database, selection_sql(parse_filter(expression), newest_first=newest_first))
    assert first.startswith(f"SEARCH t USING INDEX {index}")
    assert rest == [RIGHT_PART]


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("expression", ["model = a", "complete and model = a and tag.team = b"])
def test_a_model_is_found_by_two_indexes_merged_in_the_order_of_time(
    database: sqlite3.Connection, expression: str, *, newest_first: bool
) -> None:
    """Read from both and then sorted, the first page of a common model took 0.3 s with 200,000 traces."""
    steps = plan(database, selection_sql(parse_filter(expression), newest_first=newest_first))
    assert steps[0] == "MERGE (UNION ALL)"
    for column in ("requested_model", "served_model"):
        assert any(step.startswith(f"SEARCH t USING INDEX traces_by_{column} ({column}=? AND") for step in steps)
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(
    "expression",
    [
        "",
        "created_at >= 2026-01-31",
        "status >= 500",
        "tag.team = a",
        "finish_reason = stop",
        "not model = a",
        "complete",
    ],
)
def test_everything_else_is_read_in_the_order_of_time_until_a_page_is_full(
    database: sqlite3.Connection, expression: str, *, newest_first: bool
) -> None:
    first, *rest = plan(database, selection_sql(parse_filter(expression), newest_first=newest_first))
    assert first.startswith(BY_TIME)
    assert [step for step in rest if "SCAN" in step or "ORDER BY" in step] == []


@pytest.mark.parametrize(
    ("expression", "index"),
    [
        ("id = 01920a6e-0000-7000-8000-000000000000", "sqlite_autoindex_traces_1 (id=?)"),
        ("upstream_id = a", "traces_by_upstream_id (upstream_id=?"),
        ("request_id = a", "traces_by_request_id (request_id=?"),
    ],
)
def test_one_trace_is_found_by_any_of_its_ids(database: sqlite3.Connection, expression: str, index: str) -> None:
    first, *_ = plan(database, selection_sql(parse_filter(expression), newest_first=True))
    assert first.startswith(f"SEARCH t USING INDEX {index}")


LISTS = [name for name in vars(id_list) if name.endswith("_OF") or name.startswith(("KNOWN_", "NODES_UP"))]


@pytest.mark.parametrize("name", LISTS)
def test_what_belongs_to_some_rows_is_found_by_their_ids(database: sqlite3.Connection, name: str) -> None:
    steps = plan(database, getattr(id_list, name))
    assert [step for step in steps if step.startswith("SEARCH")]
    scanned = {step.split()[1] for step in steps if step.startswith("SCAN")}
    assert scanned <= {"w", "p", "wanted", "CONSTANT"}


def test_the_feed_goes_along_the_numbers(database: sqlite3.Connection) -> None:
    assert plan(database, trace_feed._AFTER) == ["SEARCH t USING INTEGER PRIMARY KEY (rowid>?)"]


def test_stats_add_up_without_reading_a_message(database: sqlite3.Connection) -> None:
    """Pages ask for them every few seconds, however many gigabytes the bodies have."""
    steps = plan(database, trace_reader._TOTALS)
    assert sorted(step for step in steps if step.startswith("SCAN")) == [
        "SCAN dead_letters USING COVERING INDEX dead_letters_by_trace",
        "SCAN totals",
        "SCAN totals",
        "SCAN totals",
        "SCAN traces",
    ]
    for sql in (trace_reader._BY_OUTCOME, trace_reader._BY_MODEL):
        assert "COVERING INDEX" in plan(database, sql)[0]


def test_whatever_refers_to_a_row_is_found_without_reading_a_table(database: sqlite3.Connection) -> None:
    """A row that goes must leave no reference behind, and SQLite looks for them; only values are too many to index."""
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    missing = set()
    for table in tables:
        for key in database.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            column = key[3]
            first = plan(database, f"SELECT 1 FROM {table} WHERE {column} = :id")[0]  # noqa: S608 - our own names
            if not first.startswith("SEARCH"):
                missing.add(f"{table}.{column}")
    assert {name for name in missing if not name.endswith("_blob")} == set()
