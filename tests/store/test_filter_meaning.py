"""Whatever a filter says, it selects the traces that a plain reading of it in Python selects, by every way there is."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import filter_scan, search
from store.filter import parse_filter
from store.filter_functions import add_functions
from store.filter_scan import Scan
from store.json_text import dumps
from store.search_index import SearchChore
from store.trace import Flag, Outcome, Reply, Trace
from store.trace_order import Order, from_cursor, to_cursor
from store.traces import TraceWriter
from tests.store.traces import STARTED_AT, make_trace

NAMES = ["a", "b", "ab", "é", "1", "true"]
WORDS = ["refund", "invoice", "Straße", "cafe", "café", "退款", "ship"]
METADATA: list[Any] = [
    "a",
    "1",
    1,
    1.0,
    0,
    2.5,
    True,
    False,
    None,
    "true",
    2**60 + 1,
    2**70,
    [1, "a"],
    {"k": "b", "": 1},
]


def random_trace(chance: random.Random, number: int) -> Trace:
    """Make a trace of few different values, so that conditions hold for some."""

    def some(values: list[Any]) -> Any:
        return chance.choice([*values, None])

    def message(role: str) -> dict[str, Any]:
        return {"role": role, "content": " ".join(chance.choices(WORDS, k=chance.randrange(3)))}

    history = [message("system"), message("user"), message("user")][: chance.randrange(4)]
    replies = []
    for index in range(chance.randrange(3)):
        reply = message("assistant")
        if chance.random() < 0.3:
            calls = [{"type": "function", "function": {"name": chance.choice(NAMES), "arguments": '{"q":"zebra"}'}}]
            reply = {**reply, "tool_calls": calls}
        replies.append(Reply(index, dumps(reply), some(["stop", "length", "tool_calls"])))
    metadata = {name: chance.choice(METADATA) for name in chance.sample(["x", "y", "x.k"], chance.randrange(3))}
    return make_trace(
        number,
        created_at=STARTED_AT + timedelta(seconds=chance.randrange(20)),
        requested_model=some(NAMES[:2]),
        served_model=some(NAMES[:3]),
        outcome=chance.choice(list(Outcome)[:3]),
        status=some([200, 429, 500]),
        is_streaming=chance.random() < 0.5,
        session=some(NAMES),
        user=some(NAMES),
        key_fingerprint=some(NAMES[:2]),
        tags={name: chance.choice(NAMES) for name in chance.sample(NAMES[:2], chance.randrange(3))},
        metadata=json.dumps(metadata).encode() if chance.random() < 0.7 else None,
        flags=frozenset(chance.sample(list(Flag)[:4], chance.randrange(3))),
        error=some(["rate limit", "no"]),
        prompt_tokens=some([1, 10, 100]),
        completion_tokens=some([1, 10]),
        duration_ms=some([1.5, 20.0, 20.0, 300.0]),
        tools=some([b"[]"]),
        messages=tuple(map(dumps, history)),
        replies=tuple(replies),
    )


Holds = Callable[[Trace], bool]


class Said(NamedTuple):
    """A condition as it is written, and as Python reads it."""

    text: str
    holds: Holds


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


TEXTS: dict[str, Callable[[Trace], list[str | None]]] = {
    "requested_model": lambda t: [t.requested_model],
    "model": lambda t: [t.requested_model, t.served_model],
    "session": lambda t: [t.session],
    "user": lambda t: [t.user],
    "key": lambda t: [t.key_fingerprint],
    "finish_reason": lambda t: [reply.finish_reason for reply in t.replies],
    "error": lambda t: [t.error],
    "tag.a": lambda t: [t.tags.get("a")],
    'tag."b"': lambda t: [t.tags.get("b")],
}
NUMBERS: dict[str, Callable[[Trace], float | None]] = {
    "status": lambda t: t.status,
    "prompt_tokens": lambda t: t.prompt_tokens,
    "completion_tokens": lambda t: t.completion_tokens,
    "duration_ms": lambda t: t.duration_ms,
    "message_count": lambda t: len(t.messages),
    "total_tokens": lambda t: (
        None if t.prompt_tokens is None or t.completion_tokens is None else t.prompt_tokens + t.completion_tokens
    ),
}
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
}
TRUTHS: dict[str, Holds] = {
    "complete": lambda t: t.is_complete,
    "stream": lambda t: t.is_streaming,
    "has_tools": lambda t: t.tools is not None,
    "has_tool_calls": lambda t: bool(tools_of(t)),
    "has_feedback": lambda _: False,
}


def tools_of(trace: Trace) -> set[str]:
    return {
        call["function"]["name"]
        for reply in trace.replies
        for call in json.loads(reply.message).get("tool_calls") or ()
    }


def text_said(name: str, operator: str, value: str) -> Said:
    values = TEXTS[name]
    if operator == "~":
        pattern = value + "*"
        return Said(f"{name} ~ {quoted(pattern)}", lambda t: any(v and fnmatchcase(v, pattern) for v in values(t)))
    is_equal = operator == "="
    return Said(f"{name} {operator} {quoted(value)}", lambda t: (value in values(t)) is is_equal)


def number_said(name: str, operator: str, value: int) -> Said:
    def holds(trace: Trace) -> bool:
        found = NUMBERS[name](trace)
        return found is not None and COMPARE[operator](found, value)

    return Said(f"{name} {operator} {value}", holds)


def at(value: Any, path: list[str]) -> Iterator[Any]:
    """Give what stands at a path; a dot may be part of a name."""
    if not path:
        if value is not None and not isinstance(value, dict | list):
            yield value
    elif isinstance(value, dict):
        for length in range(1, len(path) + 1):
            name = ".".join(path[:length])
            if name in value:
                yield from at(value[name], path[length:])
    elif isinstance(value, list) and path[0].isdigit() and int(path[0]) < len(value):
        yield from at(value[int(path[0])], path[1:])


def metadata_said(path: str, operator: str, word: str, *, is_quoted: bool) -> Said:
    def is_asked(value: Any) -> bool:
        if isinstance(value, str) or is_quoted:
            return bool(value == word)
        if isinstance(value, bool):
            return json.dumps(value) == word
        return word not in ("true", "a") and bool(value == json.loads(word))

    def holds(trace: Trace) -> bool:
        values = list(at(json.loads(trace.metadata or b"{}"), path.split(".")))
        if operator in ("=", "!="):
            return any(map(is_asked, values)) is (operator == "=")
        return any(
            COMPARE[operator](v, float(word))
            for v in values
            if isinstance(v, int | float) and v is not True and v is not False
        )

    return Said(f"metadata.{path} {operator} {quoted(word) if is_quoted else word}", holds)


def words_of(message: dict[str, Any]) -> str:
    spoken = message["content"] + (' q zebra"' if message.get("tool_calls") else "")
    return " " + spoken.lower().replace("é", "e") + " "


def search_said(word: str) -> Said:
    wanted = word.lower().replace("é", "e")

    def holds(trace: Trace) -> bool:
        texts = [words_of(json.loads(m)) for m in (*trace.messages, *[reply.message for reply in trace.replies])]
        # A character of a script without spaces stands for itself; other words stand between spaces.
        return any(wanted in text if wanted in "退款" else f" {wanted}" in text for text in texts)

    ending = "" if wanted in "退款" else "*"
    return Said(f"text ~ {quoted(word + ending)}", holds)


CONDITIONS = st.one_of(
    st.builds(
        text_said,
        st.sampled_from(list(TEXTS)),
        st.sampled_from(["=", "!=", "~"]),
        st.sampled_from([*NAMES, "stop", "length", "rate limit"]),
    ),
    st.sampled_from(list(TEXTS)).map(
        lambda name: Said(f"{name} = null", lambda t: not [v for v in TEXTS[name](t) if v is not None])
    ),
    st.builds(
        number_said,
        st.sampled_from(list(NUMBERS)),
        st.sampled_from(list(COMPARE)),
        st.sampled_from([0, 1, 2, 20, 100, 429]),
    ),
    st.sampled_from(list(TRUTHS)).map(lambda name: Said(name, TRUTHS[name])),
    st.sampled_from(list(Flag)[:4]).map(lambda flag: Said(f"flag = {flag}", lambda t: flag in t.flags)),
    st.just(Said("flag = null", lambda t: not t.flags)),
    st.sampled_from(NAMES).map(lambda name: Said(f"tool = {quoted(name)}", lambda t: name in tools_of(t))),
    st.sampled_from(list(Outcome)[:3]).map(
        lambda outcome: Said(f"outcome = {outcome}", lambda t: t.outcome is outcome)
    ),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(
        lambda names: Said(f"user in ({', '.join(map(quoted, names))})", lambda t: t.user in names)
    ),
    st.builds(
        metadata_said,
        st.sampled_from(["x", "y", "x.k", "y.k", "x.0", "x.k.0"]),
        st.sampled_from(["=", "!="]),
        st.sampled_from(["a", "1", "true", "2.5", str(2**60 + 1)]),
        is_quoted=st.booleans(),
    ),
    st.builds(
        metadata_said,
        st.sampled_from(["x", "x.k"]),
        st.sampled_from(["<", ">="]),
        st.sampled_from(["1", "2.5"]),
        is_quoted=st.just(False),
    ),
    st.sampled_from([*WORDS, "zebra", "nothing", "CAFE", "invo"]).map(search_said),
    st.builds(
        lambda operator, second: Said(
            f"created_at {operator} 2026-01-01T00:00:{second:02}Z",
            lambda t: COMPARE[operator](t.created_at, STARTED_AT + timedelta(seconds=second)),
        ),
        st.sampled_from(list(COMPARE)),
        st.integers(0, 20),
    ),
)


def joined(parts: list[Said], how: str) -> Said:
    text = f" {how} ".join(f"({part.text})" for part in parts)
    return Said(text, lambda t: (all if how == "and" else any)(part.holds(t) for part in parts))


EXPRESSIONS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "and", "or"])),
        inner.map(lambda said: Said(f"not ({said.text})", lambda t: not said.holds(t))),
    ),
    max_leaves=5,
)


class Filled:
    """A database and what is in it; short to print."""

    def __init__(self, database: sqlite3.Connection, traces: list[Trace]) -> None:
        self.database = database
        self.traces = traces


async def fill(path: Path, traces: list[Trace]) -> None:
    """Store some traces, and index their texts in several parts."""
    chore = SearchChore(part_nodes=40)
    async with await TraceWriter.open(path) as writer:
        for start in range(0, len(traces), 20):
            await writer.write(traces[start : start + 20])
        while (await writer.perform(chore)).has_more:
            pass


@pytest.fixture(scope="module", params=[1, 2, 3])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    chance = random.Random(request.param)
    path = tmp_path_factory.mktemp("filled") / "traces.db"
    traces = [random_trace(chance, number) for number in range(1, 60)]
    asyncio.run(fill(path, traces))
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        add_functions(database)
        yield Filled(database, traces)


NARROW = {"_FIRST_WINDOW": 2, "_MOST_NUMBERS": 6, "_LARGEST_PROPOSAL": 4}
"""So few that every selection is read in several windows, and by all ways."""


@pytest.fixture(params=["narrow", "wide"])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "narrow":
        for name, value in NARROW.items():
            monkeypatch.setattr(filter_scan, name, value)
        monkeypatch.setattr(search, "MOST_NODES", 3)
        monkeypatch.setattr(search, "MOST_BELOW", 8)


@pytest.mark.usefixtures("width")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=EXPRESSIONS, count=st.sampled_from([1, 3, 100]), order=st.sampled_from([Order.NEWEST, Order.OLDEST]))
def test_a_filter_means_what_it_says(filled: Filled, said: Said, count: int, order: Order) -> None:
    expected = sorted((t for t in filled.traces if said.holds(t)), key=lambda t: (t.created_at, t.id))
    found = selected(filled.database, said.text, order, count)
    assert found == [t.id for t in (reversed(expected) if order is Order.NEWEST else expected)], said.text


@pytest.mark.usefixtures("width")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=EXPRESSIONS, count=st.sampled_from([1, 3, 100]), order=st.sampled_from([o for o in Order if not o.is_of_time])
)
def test_another_order_lists_the_same_traces_by_its_value(filled: Filled, said: Said, count: int, order: Order) -> None:
    expected = [t for t in filled.traces if said.holds(t) and getattr(t, order.column) is not None]
    found = selected(filled.database, said.text, order, count)
    assert sorted(found) == sorted(t.id for t in expected), said.text
    keys = {t.id: getattr(t, order.column) for t in expected}
    assert [keys[id_] for id_ in found] == sorted(keys.values(), reverse=order.is_descending)


def selected(database: sqlite3.Connection, expression: str, order: Order, count: int) -> list[UUID]:
    """Page through a selection, each page a look of its own that goes on from a cursor."""
    found: list[UUID] = []
    selection, place = parse_filter(expression), order.start
    while True:
        rows, end = Scan(database, selection, order).look(place, count, seconds=0)
        found += [UUID(bytes=row["id"]) for row in rows]
        assert len(rows) <= count
        if end is None:
            return found
        place = from_cursor(order, to_cursor(order, end))
