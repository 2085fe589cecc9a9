import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import FilterError
from store.filter import parse_filter
from store.filter_fields import FIELDS
from store.trace import Outcome, Reply
from store.traces import TraceReader, TraceWriter
from tests.store.traces import make_trace

CALL = b'{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}'
USER = b'{"role":"user","content":"a"}'


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[TraceReader]:
    path = tmp_path / "traces.db"
    traces = [
        make_trace(
            1,
            requested_model="gpt-4o",
            served_model="gpt-4o-2024-08-06",
            messages=(USER,),
            replies=(Reply(0, CALL, "tool_calls"),),
            status=200,
            session="web-1",
            prompt_tokens=10,
            duration_ms=1.5,
            tags={"team": "search", "a b": "x"},
            upstream_id="chatcmpl-1",
        ),
        make_trace(2, requested_model="o'neil\"; DROP TABLE traces; --", outcome=Outcome.UPSTREAM_ERROR, status=500),
        make_trace(
            3,
            is_streaming=True,
            session="100%_[web]*",
            prompt_tokens=4000,
            ttft_ms=20.0,
            tags={"team": ""},
            user="ü",
            messages=(USER,),
            replies=(Reply(0, b"{}", "stop"),),
        ),
        make_trace(4, endpoint=None, route="embeddings", request_id="r"),
    ]
    async with await TraceWriter.open(path) as writer:
        await writer.write(traces)
    async with await TraceReader.open(path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("  ", [1, 2, 3, 4]),
        ("model = gpt-4o", [1]),
        ("model = gpt-4o-2024-08-06", [1]),
        ("model != gpt-4o", [2, 3, 4]),
        ("model = null", [3, 4]),
        ("model != null", [1, 2]),
        ("model ~ 'gpt-*'", [1]),
        ("model = and", []),
        ("served_model = gpt-4o", []),
        ("requested_model in (gpt-4o, x)", [1]),
        ("""model = 'o\\'neil"; DROP TABLE traces; --'""", [2]),
        ("outcome = completed", [1, 3, 4]),
        ("outcome ~ upstream_*", [2]),
        ("not outcome = completed", [2]),
        ("outcome not in (completed, interrupted)", [2]),
        ("status >= 500", [2]),
        ("status = null", [3, 4]),
        ("status != 200", [2, 3, 4]),
        ("not status < 500", [2, 3, 4]),
        ("complete", [1, 3]),
        ("not complete", [2, 4]),
        ("complete = false", [2, 4]),
        ("stream=true", [3]),
        ("has_tool_calls", [1]),
        ("endpoint = null", [4]),
        ("endpoint = chat.completions and route = default", [1, 2, 3]),
        ("route in (embeddings)", [4]),
        ("session = web-1", [1]),
        ("session = '100%_[web]*'", [3]),
        ("session ~ web*", [1]),
        ("session ~ '*[[]web[]]*'", [3]),
        ("user = ü", [3]),
        ("finish_reason = stop", [3]),
        ("finish_reason = null", [2, 4]),
        ("prompt_tokens > 9 and prompt_tokens<=10", [1]),
        ("prompt_tokens != 10", [2, 3, 4]),
        ("duration_ms = 1.5 or ttft_ms > 1e1", [1, 3]),
        ("tag.team = search", [1]),
        ("tag.team = ''", [3]),
        ("tag.team = null", [2, 4]),
        ('tag."a b" = x', [1]),
        ("upstream_id = chatcmpl-1 or request_id = r", [1, 4]),
        ("created_at >= 2026-01-01T00:00:03Z", [3, 4]),
        ("created_at < '2026-01-01 01:00:02+01:00'", [1]),
        ("created_at >= 2026-01-01 and created_at < 2026-01-02", [1, 2, 3, 4]),
        ("id = 00000000-0000-0000-0000-000000000002", [2]),
        ("id in (00000000-0000-0000-0000-000000000002, 00000000-0000-0000-0000-000000000004)", [2, 4]),
        ("stream or complete and not has_tool_calls", [3]),
        ("(stream or complete) and not stream", [1]),
        ("NOT (stream OR complete)", [2, 4]),
        ("not not stream", [3]),
    ],
)
async def test_a_filter_selects_what_it_says(reader: TraceReader, expression: str, expected: list[int]) -> None:
    assert [trace.id.int async for trace in reader.traces(parse_filter(expression))] == expected


async def test_a_model_that_matches_in_both_columns_is_found_once_and_in_order(tmp_path: Path) -> None:
    """Two indexes are gone through for it, each in the order of time."""
    names = [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"), (None, "a"), ("a", None), (None, None)]
    expected = [number for number in range(70) if "a" in names[number % 7]]
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        models = [dict(zip(("requested_model", "served_model"), names[n % 7], strict=True)) for n in range(70)]
        await writer.write([make_trace(n, **models[n], status=200 + n % 2) for n in reversed(range(70))])
    async with await TraceReader.open(tmp_path / "traces.db") as opened:
        found = parse_filter("model = a")
        assert [trace.id.int async for trace in opened.traces(found)] == expected
        assert [trace.id.int async for trace in opened.traces(found, newest_first=True)] == expected[::-1]
        pages, cursor = [], None
        while cursor or not pages:
            page = await opened.page(found, cursor, limit=7)
            pages += [summary.id.int for summary in page.summaries]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert pages == expected[::-1]
        narrow = parse_filter("not stream and (model = a) and status = 201")
        assert [trace.id.int async for trace in opened.traces(narrow)] == [n for n in expected if n % 2]


@pytest.mark.parametrize(
    ("expression", "position", "parts"),
    [
        ("sesion = 1", 1, ['unknown field "sesion"', 'did you mean "session"', "tag.NAME"]),
        ("complete and modle = x", 14, ['"modle"', '"model"']),
        ("model", 6, ["found the end", "an operator after model"]),
        ("model =", 8, ["found the end", "a value for model"]),
        ("model > x", 7, ['found ">"', "= != ~ in"]),
        ("status ~ 2*", 8, ["= != < <= > >= in"]),
        ("outcome = done", 11, ["cannot be done", "completed", "client_disconnect"]),
        ("status = ok", 10, ["a whole number"]),
        ("status = 99999999999999999999", 10, ["a whole number"]),
        ("ttft_ms > nan", 11, ["a number"]),
        ("complete = maybe", 12, ["true or false"]),
        ("created_at > yesterday", 14, ["ISO 8601"]),
        ("id = 5", 6, ["a trace id"]),
        ("outcome = null", 11, ["cannot be null"]),
        ("status > null", 10, ["cannot be null"]),
        ("(stream", 8, ["found the end", '")"']),
        ("stream)", 7, ['found ")"', "the end"]),
        ("stream stream", 8, ['found "stream"']),
        ("status in 5", 11, ['found "5"', '"("']),
        ("status in ()", 12, ["a value for status"]),
        ("status not 5", 12, ['"in"']),
        ("tag. = x", 1, ["tag.NAME"]),
        ("session = 'open", 11, ["never closed"]),
        ("session = !", 11, ['found "!"']),
        ("and", 1, ["a field"]),
        ("= 5", 1, ["a field"]),
        ("(" * 5000 + "stream" + ")" * 5000, 101, ["levels of parentheses"]),
        (" or ".join(["status = 1"] * 501), 7010, ["more than 500 comparisons"]),
    ],
)
def test_an_error_tells_where_what_was_found_and_what_is_allowed(
    expression: str, position: int, parts: list[str]
) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(expression)
    assert caught.value.expression == expression
    assert caught.value.position == position
    assert str(caught.value).startswith(f"filter, position {position}: ")
    for part in parts:
        assert part in str(caught.value)


WORDS = st.sampled_from(
    [*FIELDS, "tag.x", "and", "or", "not", "in", "(", ")", ",", "=", "~", "<", "null", "true", "'v'"]
)


async def test_the_longest_chain_allowed_is_one_the_database_takes(reader: TraceReader) -> None:
    chain = parse_filter(" or ".join(["status = 500"] * 500))
    assert [trace.id.int async for trace in reader.traces(chain)] == [2]
    nested = parse_filter("not (" * 49 + "stream" + ")" * 49)
    assert [trace.id.int async for trace in reader.traces(nested)] == [1, 2, 4]


@given(st.lists(WORDS | st.text(max_size=5), max_size=12).map(" ".join) | st.text(max_size=30))
def test_any_text_is_either_a_filter_or_a_clear_error(expression: str) -> None:
    position = error_position(expression)
    assert position is None or 1 <= position <= len(expression) + 1


def error_position(expression: str) -> int | None:
    try:
        parse_filter(expression)
    except FilterError as error:
        return error.position
    return None


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=20))
def test_no_value_ever_becomes_part_of_the_sql(value: str) -> None:
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    found = parse_filter(f"session = {quoted} and tag.{quoted} ~ {quoted}")
    assert found.sql == parse_filter("session = a and tag.b ~ c").sql
    assert set(found.parameters.values()) == {value.encode("utf-8", "surrogatepass")}


@pytest.mark.parametrize(
    "condition", ["complete", "session = null", "session = a", "model = a", "not stream", "model in (null, null)"]
)
async def test_a_filter_too_long_for_sqlite_is_refused_by_us(tmp_path: Path, condition: str) -> None:
    """SQLite's own words for it came out as a fault of the store."""
    longest = {"model in (null, null)": 250}.get(condition, 500)
    await (await TraceWriter.open(tmp_path / "traces.db")).close()
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert (await reader.page(parse_filter(" or ".join([condition] * longest)))).summaries == []
    with pytest.raises(FilterError, match="split the filter"):
        parse_filter(" or ".join([condition] * (longest + 1)))
