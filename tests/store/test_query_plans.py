"""The questions of lists, look-ups and statistics go by an index, however many traces there are."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from store import id_list, trace_feed, trace_reader, usage_days
from store.database import TRACES
from store.filter import parse_filter
from store.filter_functions import add_functions
from store.filter_scan import Scan
from store.trace_order import Order


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TRACES.sql())
        connection.row_factory = sqlite3.Row
        add_functions(connection)
        yield connection


@pytest.fixture(scope="module")
def filled(database: sqlite3.Connection) -> sqlite3.Connection:
    """So many traces that no look is done with the first of them."""
    database.executemany(
        """
        INSERT INTO traces (number, id, created_at, method, path, route, upstream, outcome, is_streaming, is_complete,
                            message_count, has_tool_calls, parameters_blob, flags, request_bytes, response_bytes,
                            duration_ms, prompt_tokens, completion_tokens)
        VALUES (?1, CAST(?1 AS BLOB), ?1, x'', x'', x'', x'', 'completed', 0, 0, 0, 0, 0, '', 0, 0, 1, 1, 9)
        """,
        [(number,) for number in range(5000)],
    )
    return database


def plan(database: sqlite3.Connection, sql: str) -> list[str]:
    parameters = dict.fromkeys(re.findall(r":(\w+)", sql))
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def plans(database: sqlite3.Connection, expression: str, order: Order) -> list[list[str]]:
    """Explain every statement of one look."""
    said: list[str] = []
    scan = Scan(database, parse_filter(expression), order)
    database.set_trace_callback(said.append)
    scan.look(order.start, 10)
    database.set_trace_callback(None)
    return [plan(database, sql) for sql in dict.fromkeys(said)]


TIME = [Order.NEWEST, Order.OLDEST]


@pytest.mark.parametrize("order", TIME)
@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ("session = a", ["SEARCH traces USING COVERING INDEX traces_by_session (session=? AND created_at"]),
        ("user = a", ["SEARCH traces USING COVERING INDEX traces_by_user (user=? AND created_at"]),
        ("outcome = interrupted", ["SEARCH traces USING COVERING INDEX traces_by_outcome (outcome=? AND created_at"]),
        (
            "complete and model in (a, b)",
            [
                "SEARCH traces USING COVERING INDEX traces_by_requested_model (requested_model=? AND created_at",
                "SEARCH traces USING COVERING INDEX traces_by_served_model (served_model=? AND created_at",
            ],
        ),
        *[
            (condition, ["SEARCH trace_labels USING PRIMARY KEY (label=? AND created_at"])
            for condition in (
                "tag.team = a",
                "metadata.plan.tier = pro",
                "tool = look_up",
                "finish_reason = length",
                "flag = no_usage and complete",
                "key = 3f",
                "finish_reason in (length, content_filter) and not (stream or user = a)",
            )
        ],
        ("duration_ms > 5", ["SEARCH traces USING COVERING INDEX traces_by_duration_ms (duration_ms>?"]),
        ("prompt_tokens > 5", ["SEARCH traces USING COVERING INDEX traces_by_prompt_tokens (prompt_tokens>?"]),
        (
            "completion_tokens < 5",
            ["SEARCH traces USING COVERING INDEX traces_by_completion_tokens (comp"],
        ),
        ("status = 429", ["SEARCH trace_labels USING PRIMARY KEY (label=? AND created_at"]),
        ("status >= 500 and not stream", ["SEARCH trace_labels USING PRIMARY KEY (label=? AND created_at"]),
        ("total_tokens > 9", ["SEARCH traces USING COVERING INDEX traces_by_prompt_tokens (prompt_tokens>?"]),
        ("cost > 0.5", ["SEARCH costs USING COVERING INDEX costs_by_cost (cost>?"]),
        ("upstream_id = a", ["SEARCH traces USING COVERING INDEX traces_by_upstream_id (upstream_id=?"]),
        ("request_id = a", ["SEARCH traces USING COVERING INDEX traces_by_request_id (request_id=?"]),
        ("feedback.good = true", ["SEARCH e USING INDEX feedback_by_name (name=?"]),
    ],
)
def test_what_a_condition_finds_by_itself_is_asked_for_by_its_index(
    filled: sqlite3.Connection, expression: str, steps: list[str], order: Order
) -> None:
    """And in the order of time, so that the first ones come without reading the others."""
    found = plans(filled, expression, order)
    for step in steps:
        [asked] = [steps for steps in found if any(each.startswith(step) for each in steps)][:1]
        assert [each for each in asked if "TEMP B-TREE" in each and "LAST" not in each] == []


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("expression", ["", "created_at >= 2026-01-31", "status >= 200", "not model = a", "complete"])
def test_everything_else_is_read_along_the_index_of_the_order(
    filled: sqlite3.Connection, expression: str, order: Order
) -> None:
    found = plans(filled, expression, order)
    assert all(f"INDEX {order.sql_index}" in steps[0] and steps[0].startswith("SEARCH t") for steps in found)
    assert [step for steps in found for step in steps if "SCAN t" in step or "TEMP B-TREE" in step] == []


LISTS = [name for name in vars(id_list) if name.endswith("_OF") or name.startswith(("KNOWN_", "NODES_UP"))]


@pytest.mark.parametrize("name", LISTS)
def test_what_belongs_to_some_rows_is_found_by_their_ids(database: sqlite3.Connection, name: str) -> None:
    steps = plan(database, getattr(id_list, name))
    assert [step for step in steps if step.startswith("SEARCH")]
    scanned = {step.split()[1] for step in steps if step.startswith("SCAN")}
    assert scanned <= {"w", "p", "wanted", "CONSTANT"}


def test_the_feed_goes_along_the_numbers(database: sqlite3.Connection) -> None:
    assert plan(database, trace_feed._AFTER) == ["SEARCH t USING INTEGER PRIMARY KEY (rowid>?)"]


def test_stats_read_no_trace_but_the_first_and_the_last(database: sqlite3.Connection) -> None:
    """Pages ask for them every few seconds, however many traces there are."""
    steps = [step for step in plan(database, trace_reader._STORE) if step.startswith(("SCAN", "SEARCH"))]
    assert sorted(set(steps)) == [
        "SCAN CONSTANT ROW",
        "SCAN dead_letters USING COVERING INDEX dead_letters_by_trace",
        "SCAN totals",
        "SEARCH traces USING COVERING INDEX traces_by_time",
    ]
    assert plan(database, usage_days._DAYS) == ["SEARCH usage_days USING INDEX usage_days_by_key (day>? AND day<?)"]


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
