"""Feedback: only ever added, the last word of each person counts, and what was said comes back letter by letter."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from store import json_text
from store.change import Change, ChangeKind, find_change
from store.chore import NOTHING_TO_DO, Step
from store.export import ExportFormat, export_lines
from store.feedback import (
    along,
    current_feedback,
    erase,
    feedback_json,
    feedback_of,
    find_feedback,
)
from store.feedback_form import FeedbackError, FeedbackKind, read_feedback, read_request, write_request
from store.filter import parse_filter
from store.trace import Reply, Trace
from store.traces import TraceReader, TraceWriter
from store.uuid7 import uuid7
from tests.store.traces import ODD_TEXT, make_trace

START = datetime(2026, 1, 2, tzinfo=UTC)
ANSWER = rb'{"role":"assistant","content":"\u0041 \ud800 \u2028","x":[1.0,1E5,12345678901234567890123],"x2":1e400}'
TRACE = make_trace(
    1,
    messages=(b'{"role":"user","content":"a"}', b'{"role":"assistant","content":"b"}', b'{"role":"user"}'),
    replies=(Reply(0, b'{"role":"assistant","content":"c"}'), Reply(1, b'{"role":"assistant","content":"d"}')),
)


def ask(
    trace: Trace | UUID, value: bytes | str, seconds: int = 0, *, by: str | None = "anna", **members: Any
) -> Change:
    plain = {name: json_text.dumps(each) for name, each in members.items()}
    texts = {**plain, "value": value if isinstance(value, bytes) else value.encode()}
    text = b"{" + b",".join(b'"%s":%s' % (name.encode(), each) for name, each in texts.items()) + b"}"
    id_ = trace if isinstance(trace, UUID) else trace.id
    body = write_request(id_, read_feedback(text))
    return Change(uuid7(), ChangeKind.FEEDBACK, START + timedelta(seconds=seconds), by, body)


async def store(path: Path, *changes: Change, traces: tuple[Trace, ...] = (TRACE,)) -> None:
    async with await TraceWriter.open(path / "traces.db") as writer:
        await writer.write(traces, changes=changes)


async def said(path: Path, trace_id: UUID = TRACE.id) -> list[tuple[str, str, bool]]:
    async with await TraceReader.open(path / "traces.db") as reader:
        found = await reader.look(lambda db: feedback_of(db, trace_id))
    return [(each.given.name, each.given.value.decode(), each.is_current) for each in found]


async def selected(path: Path, where: str) -> list[int]:
    async with await TraceReader.open(path / "traces.db") as reader:
        return [trace.id.int async for trace in reader.traces(parse_filter(where))]


@pytest.mark.parametrize(
    ("value", "kind", "score"),
    [
        (b"true", FeedbackKind.BOOLEAN, 1.0),
        (b"false", FeedbackKind.BOOLEAN, 0.0),
        (b"0.10", FeedbackKind.FLOAT, 0.1),
        (b"-3", FeedbackKind.FLOAT, -3.0),
        (rb'"\u0000 no\ud800"', FeedbackKind.COMMENT, None),
        (ANSWER, FeedbackKind.DEMONSTRATION, None),
        (b"null", FeedbackKind.RETRACTION, None),
    ],
)
async def test_each_kind_comes_back_as_it_was_given(
    tmp_path: Path, value: bytes, kind: FeedbackKind, score: float | None
) -> None:
    asked = ask(TRACE, value, name="n", choice=1)
    await store(tmp_path, asked)
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        found = await reader.look(lambda db: find_feedback(db, asked.id))
    assert found is not None
    assert (found.given.value, found.given.kind, found.given.score) == (value, kind, score)
    assert (found.trace_id, found.given.choice, found.given.message) == (TRACE.id, 1, None)
    assert (found.given.by, found.at, found.is_current) == ("anna", START, kind is not FeedbackKind.RETRACTION)
    assert b'"value":' + value in feedback_json(found)


async def test_the_last_word_of_a_person_counts_and_the_others_stay(tmp_path: Path) -> None:
    await store(
        tmp_path,
        ask(TRACE, "true", 1, name="helpful"),
        ask(TRACE, "false", 3, name="helpful"),
        ask(TRACE, "true", 2, name="helpful"),  # another journal was read later
        ask(TRACE, "0.5", 4, name="score"),
        ask(TRACE, "true", 5, name="helpful", by="ben"),
        ask(TRACE, "true", 6, name="helpful", message=1),
    )
    assert await said(tmp_path) == [
        ("helpful", "true", False),
        ("helpful", "true", False),
        ("helpful", "false", True),
        ("score", "0.5", True),
        ("helpful", "true", True),
        ("helpful", "true", True),
    ]
    await store(tmp_path, ask(TRACE, "null", 9, name="helpful"))
    assert [each for each in await said(tmp_path) if each[0] == "helpful" and each[2]] == [
        ("helpful", "true", True)
    ] * 2
    await store(tmp_path, ask(TRACE, "false", 10, name="helpful"))
    assert (await said(tmp_path))[-1] == ("helpful", "false", True)


async def test_feedback_may_come_before_its_trace(tmp_path: Path) -> None:
    await store(tmp_path, ask(TRACE, "true", name="helpful"), traces=())
    assert await said(tmp_path) == [("helpful", "true", True)]
    await store(tmp_path)
    assert await selected(tmp_path, "feedback.helpful = true") == [1]


async def test_the_same_change_is_one_entry_however_often_it_is_read(tmp_path: Path) -> None:
    asked = ask(TRACE, "true", name="helpful")
    await store(tmp_path, asked, asked)
    await store(tmp_path, asked)
    assert await said(tmp_path) == [("helpful", "true", True)]


@pytest.mark.parametrize(
    ("value", "members", "at_fault"),
    [
        ("true", {"name": "helpful", "message": 3}, "message: the request has 3 messages, counted from 0."),
        ("true", {"name": "helpful", "choice": 2}, "choice: the trace has the choices 0, 1."),
        (ANSWER, {"message": 0}, "message: a demonstration stands for an answer, and this message is of user."),
    ],
)
async def test_what_a_stored_trace_has_not_gets_no_feedback(
    tmp_path: Path, value: bytes, members: dict[str, Any], at_fault: str
) -> None:
    asked = ask(TRACE, value, **members)
    await store(tmp_path, asked)
    assert await said(tmp_path) == []
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        record = await reader.look(lambda db: find_change(db, asked.id))
    assert record is not None
    assert record.result == {"error": at_fault}


async def test_an_answer_within_the_request_can_be_corrected(tmp_path: Path) -> None:
    await store(tmp_path, ask(TRACE, ANSWER, message=1))
    assert await said(tmp_path) == [("demonstration", ANSWER.decode(), True)]


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("[]", None),
        ("{", None),
        ('{"name":"a","value":1,"value":2}', None),
        ('{"name":"a"}', "value"),
        ('{"value":true}', "name"),
        ('{"name":"","value":true}', "name"),
        ('{"name":"a\\n","value":true}', "name"),
        ('{"name":"a","value":true,"rating":1}', "rating"),
        ('{"name":"a","value":1e999}', "value"),
        ('{"name":"a","value":' + "9" * 400 + "}", "value"),
        ('{"name":"a","value":[]}', "value"),
        ('{"value":""}', "value"),
        ('{"value":{"role":"user","content":"x"}}', "value"),
        ('{"value":{"role":"assistant","content":null}}', "value"),
        ('{"value":{"role":"assistant","content":5}}', "value"),
        ('{"name":"a","value":1,"message":-1}', None),
        ('{"name":"a","value":1,"message":true}', None),
        ('{"name":"a","value":1,"message":0,"choice":0}', "choice"),
        ('{"name":"a","value":1,"id":"x"}', "id"),
        ('{"name":"a","value":1,"by":5}', "by"),
    ],
)
def test_what_cannot_be_feedback_is_refused_by_its_member(text: str, member: str | None) -> None:
    with pytest.raises(FeedbackError) as refused:
        read_feedback(text.encode())
    assert refused.value.member == member


@for_all(ODD_TEXT, ODD_TEXT.filter(bool), st.integers(0, 9) | st.none())
def test_a_request_is_read_as_it_was_written(by: str, comment: str, message: int | None) -> None:
    asked = json_text.dumps({"name": "n", "value": comment, "by": by, "message": message})
    read = read_feedback(asked)
    assert read_request(write_request(TRACE.id, read)) == (TRACE.id, read)
    assert json_text.loads(read.value) == comment


@pytest.mark.parametrize("body", [b"", b"{}", b'{"trace_id":"x","value":1}', b'{"trace_id":5,"name":"a","value":1}'])
def test_a_change_that_is_no_feedback_is_refused(body: bytes) -> None:
    with pytest.raises(FeedbackError):
        read_request(body)
    assert issubclass(FeedbackError, ValueError)


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("feedback.helpful = true", [1, 3]),
        ("feedback.helpful = false", [2, 3]),
        ("feedback.helpful >= 0.5", [1, 3]),
        ("feedback.helpful != true", [2, 4]),
        ("feedback.helpful = null", [4]),
        ("feedback.helpful in (true, false)", [1, 2, 3]),
        ('feedback."a b" > 2', [2]),
        ("has_feedback", [1, 2, 3]),
        ("not has_feedback", [4]),
        ("has_demonstration", [3]),
        ("has_demonstration = false and has_feedback", [1, 2]),
    ],
)
async def test_traces_are_selected_by_what_was_said_of_them(tmp_path: Path, where: str, numbers: list[int]) -> None:
    traces = tuple(make_trace(number) for number in range(1, 5))
    await store(
        tmp_path,
        ask(traces[0], "false", 1, name="helpful"),
        ask(traces[0], "true", 2, name="helpful"),
        ask(traces[1], "false", name="helpful"),
        ask(traces[1], "2.5", name="a b"),
        ask(traces[2], "true", name="helpful"),
        ask(traces[2], "false", name="helpful", by="ben"),
        ask(traces[2], ANSWER),
        ask(traces[3], "true", 1, name="helpful"),
        ask(traces[3], "null", 2, name="helpful"),
        traces=traces,
    )
    assert await selected(tmp_path, where) == numbers


async def test_erasing_leaves_nothing_of_a_trace_and_all_of_the_others(tmp_path: Path) -> None:
    other = make_trace(2)
    await store(tmp_path, ask(TRACE, "true", name="a"), ask(other, "true", name="a"), ask(UUID(int=9), "1", name="a"))

    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        chore = _Erase(TRACE.id, UUID(int=9))
        await writer.perform(chore)
    assert chore.erased == 2
    assert await said(tmp_path) == []
    assert await said(tmp_path, other.id) == [("a", "true", True)]


class _Erase:
    name = "erase"
    erased = 0

    def __init__(self, *ids: UUID) -> None:
        self._ids = [id_.bytes for id_ in ids]

    def step(self, db: sqlite3.Connection) -> Step:
        self.erased = erase(db, self._ids)
        return NOTHING_TO_DO


async def test_an_export_line_tells_what_counts_for_it(tmp_path: Path) -> None:
    other = make_trace(2)
    await store(
        tmp_path,
        ask(TRACE, "true", 1, name="helpful"),
        ask(TRACE, "false", 2, name="helpful"),
        ask(TRACE, ANSWER, 3, choice=1),
        traces=(TRACE, other),
    )
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        pairs = [pair async for pair in along(reader, reader.traces())]
        counted = await reader.look(lambda db: current_feedback(db, [TRACE.id, other.id]))
    assert [(trace.id.int, len(entries)) for trace, entries in pairs] == [(1, 2), (2, 0)]
    assert list(counted) == [TRACE.id]
    first, second = export_lines(pairs[0][0], ExportFormat.TRACES, pairs[0][1])
    (only,) = export_lines(pairs[1][0], ExportFormat.TRACES, pairs[1][1])
    assert [each["value"] for each in json.loads(first)["metadata"]["feedback"]] == [False]
    assert [each["kind"] for each in json.loads(second)["metadata"]["feedback"]] == ["boolean", "demonstration"]
    assert ANSWER in second
    assert "feedback" not in json.loads(only)["metadata"]
