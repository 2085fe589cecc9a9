"""Models of known quality are measured as what they are, once, and every failure counts."""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from processing.budget import Budget
from processing.datasets.row_form import messages_of, row_of
from processing.errors import BudgetError, InputError, TeacherError, UnknownMetricError
from processing.evaluation.evaluate import Wanted
from store.datasets.evaluation_store import EvaluationStore
from store.datasets.row import Part
from store.datasets.version import Birth
from store.errors import DatasetError
from tests.processing.evaluation.versions import (
    PRICE,
    frozen,
    label_for,
    label_row,
    opened,
    right_in,
    run,
    text_for,
    text_row,
)
from tests.processing.teachers import Body, Fault, Teachers, kind_of, last_user

WANTED = Wanted("support", ("m",))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EvaluationStore]:
    async with await opened(tmp_path) as found:
        yield found


@pytest.mark.parametrize("accuracy", [0.6, 0.9])
async def test_a_model_of_known_accuracy_is_measured_as_such(
    store: EvaluationStore, teachers: Teachers, accuracy: float
) -> None:
    await frozen(store, [label_row(number) for number in range(150)])
    teachers.reply = right_in(accuracy, label_for)
    found = await run(store, teachers, WANTED)
    (evaluation,) = found.evaluations
    score = evaluation.metrics["scores"]["accuracy"]
    assert found.suite == "classification"
    assert score["low"] <= accuracy <= score["high"]
    assert (score["rows"], score["conversations"], score["missing"]) == (150, 75, 0)
    assert evaluation.cost == {"total": 0.3, "per_row": 0.002, "rows_with_cost": 150, "rows_without_cost": 0}
    assert evaluation.latency["known"] == 150
    assert 0 < evaluation.latency["p50_ms"] <= evaluation.latency["p90_ms"] <= evaluation.latency["p99_ms"]


async def test_rows_that_know_no_conversation_are_drawn_by_their_group(
    store: EvaluationStore, teachers: Teachers
) -> None:
    rows = [label_row(number, conversation_id=None, group=f"g{number // 10}") for number in range(40)]
    await frozen(store, [*rows, label_row(40, conversation_id=None)])
    teachers.reply = right_in(0.5, label_for)
    (evaluation,) = (await run(store, teachers, WANTED)).evaluations
    score = evaluation.metrics["scores"]["accuracy"]
    assert (score["rows"], score["conversations"]) == (41, 5)


async def test_a_model_that_says_the_reference_is_always_right(store: EvaluationStore, teachers: Teachers) -> None:
    await frozen(store, [text_row(number) for number in range(8)])
    teachers.reply = right_in(1.0, text_for)
    (evaluation,) = (await run(store, teachers, WANTED)).evaluations
    scores = evaluation.metrics["scores"]
    assert {name: round(one["mean"], 2) for name, one in scores.items()} == {"binary": 1, "rouge": 1, "meteor": 1}
    assert evaluation.counts["failures"] == {}


async def test_the_same_evaluation_again_asks_nobody_and_says_the_same(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(12)])
    teachers.reply = right_in(0.7, label_for)
    first = await run(store, teachers, WANTED, parallel=1)
    asked = len(teachers.requests)
    again = await run(store, teachers, WANTED, parallel=8)
    assert len(teachers.requests) == asked == 12
    assert [strip(one.as_json()) for one in first.evaluations] == [strip(one.as_json()) for one in again.evaluations]
    assert len(await store.evaluations()) == 1
    assert len(await store.predictions(first.evaluations[0].evaluation_id)) == 12


def strip(written: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in written.items() if name != "created_at"}


async def test_a_question_is_the_row_up_to_the_answer_with_its_tools_and_format(
    store: EvaluationStore, teachers: Teachers
) -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    wanted = {"type": "json_object"}
    row = row_of(messages_of("q", "a", system="Be brief."), tools=tools, response_format=wanted)
    await frozen(store, [row])
    teachers.reply = lambda _: {"content": "a"}
    await run(store, teachers, WANTED)
    (body,) = teachers.requests
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}],
        "temperature": 0,
        "tools": tools,
        "response_format": wanted,
    }


async def test_each_answer_of_a_long_row_is_asked_for_unless_only_the_last_counts(
    store: EvaluationStore, teachers: Teachers
) -> None:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "first answer here"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "not learned", "weight": 0},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "second answer here", "weight": 1},
    ]
    messages[1]["weight"] = 1
    await frozen(store, [row_of(messages)])
    teachers.reply = lambda body: {"content": {"one": "first answer here"}.get(last_user(body), "wrong")}
    (evaluation,) = (await run(store, teachers, WANTED)).evaluations
    assert evaluation.counts["answers"] == 2
    assert evaluation.metrics["scores"]["binary"]["mean"] == 0.5
    assert [line["name"] for line in evaluation.metrics["strata"]] == ["answer 1", "answer 2"]
    only = {"expand_tool_calling_turns": False}
    (last,) = (await run(store, teachers, WANTED, evaluation=only)).evaluations
    assert last.counts["answers"] == 1
    assert last.evaluation_id != evaluation.evaluation_id
    assert len(teachers.requests) == 2


async def test_a_failed_answer_counts_as_wrong_and_is_counted_by_its_reason(
    store: EvaluationStore, teachers: Teachers
) -> None:
    """A tool suite scores no call against no call as 1: a failure must not slip through as agreement."""
    contents = [text_row(number) for number in range(6)]
    await frozen(store, contents)

    def reply(body: Body) -> Body:
        number = int(last_user(body).split()[1].rstrip("?"))
        if number == 1:
            raise Fault(400, '{"error": {"message": "maximum context length", "code": "context_length_exceeded"}}')
        return {2: {"content": ""}, 3: {"content": text_for(body), "finish_reason": "length"}}.get(
            number, {"content": text_for(body)}
        )

    teachers.reply = reply
    for suite, metric in (("text", "binary"), ("tool", "tool_call_equivalence")):
        found = await run(store, teachers, Wanted("support", ("m",), suite=suite), parallel=1)
        (evaluation,) = found.evaluations
        assert evaluation.counts["failures"] == {"context_length": 1, "empty_reply": 1, "length": 1}
        assert evaluation.metrics["scores"][metric]["mean"] == 0.5
        assert evaluation.metrics["scores"][metric]["missing"] == 0
        assert any("3 answers failed and count as wrong" in warning for warning in found.warnings)
        assert found.unfinished == 0


async def test_a_server_that_fails_in_passing_is_asked_again_by_the_next_run(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(9)])
    teachers.reply = right_in(1.0, label_for)

    def fails(_number: int, body: Body) -> None:
        if last_user(body) == "question 4?":
            raise Fault(500)

    teachers.fault = fails
    first = await run(store, teachers, WANTED, parallel=1)
    assert first.unfinished == 1
    assert first.evaluations[0].metrics["scores"]["accuracy"]["mean"] == pytest.approx(8 / 9, abs=1e-6)
    teachers.fault = lambda _number, _body: None
    second = await run(store, teachers, WANTED)
    assert second.unfinished == 0
    assert second.evaluations[0].metrics["scores"]["accuracy"]["mean"] == 1
    assert second.evaluations[0].evaluation_id == first.evaluations[0].evaluation_id


async def test_patience_asked_for_by_429_costs_neither_answers_nor_latency(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(6)])
    teachers.reply = right_in(1.0, label_for)

    def slow_down(number: int, _body: Body) -> None:
        if number % 2:
            raise Fault(429, headers={"retry-after": "20"})

    teachers.fault = slow_down
    wanted = Wanted("support", ("m",), suite="classification")
    (evaluation,) = (await run(store, teachers, wanted, parallel=1)).evaluations
    assert evaluation.counts["failures"] == {}
    assert evaluation.metrics["scores"]["accuracy"]["mean"] == 1
    assert evaluation.latency["p99_ms"] < 15_000


async def test_a_budget_stops_before_it_is_crossed_and_the_next_run_goes_on(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(10)])
    teachers.reply = right_in(1.0, label_for)
    with pytest.raises(BudgetError, match="4 calls"):
        await run(store, teachers, WANTED, budget=Budget(max_calls=4))
    assert len(teachers.requests) == 4
    assert await store.evaluations() == []
    found = await run(store, teachers, WANTED, budget=Budget(max_calls=6))
    assert len(teachers.requests) == 10
    assert found.evaluations[0].counts["answered"] == 10


async def test_a_dead_model_takes_nothing_from_the_one_before_it(store: EvaluationStore, teachers: Teachers) -> None:
    await frozen(store, [label_row(number) for number in range(4)])
    teachers.reply = right_in(1.0, label_for)
    models = {"dead": {"base_url": "http://127.0.0.1:9/v1"}}
    with pytest.raises(TeacherError, match="dead"):
        await run(store, teachers, Wanted("support", ("m", "dead")), models=models)
    assert [one.model for one in await store.evaluations()] == ["m"]


async def test_an_unknown_price_makes_an_unknown_cost_until_it_is_configured(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(3)])
    teachers.reply = right_in(1.0, label_for)
    (unknown,) = (await run(store, teachers, WANTED, models={})).evaluations
    assert unknown.cost == {"total": None, "per_row": None, "rows_with_cost": 0, "rows_without_cost": 3}
    (known,) = (await run(store, teachers, WANTED, models={"m": {"price": PRICE}})).evaluations
    assert known.cost["per_row"] == 0.002
    assert len(teachers.requests) == 3


async def test_the_recorded_answers_are_a_contender_that_asks_nobody(
    store: EvaluationStore, teachers: Teachers
) -> None:
    said = {0: "billing", 1: "other", 2: "other"}
    contents = [label_row(number, original_response=said.get(number)) for number in range(9)]
    await frozen(store, contents)
    found = await run(store, teachers, Wanted("support", suite="classification", has_recorded=True))
    (recorded,) = found.evaluations
    assert teachers.requests == []
    assert (recorded.model, recorded.counts["answers"], recorded.counts["without_recorded_answer"]) == (
        "recorded",
        3,
        6,
    )
    assert recorded.metrics["scores"]["accuracy"]["mean"] == pytest.approx(2 / 3, abs=1e-6)
    assert (recorded.cost["per_row"], recorded.latency["unknown"]) == (None, 3)


async def test_recorded_calls_are_read_from_their_text(store: EvaluationStore, teachers: Teachers) -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    call = {"type": "function", "function": {"name": "find", "arguments": '{"x": 1}'}}
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    row = row_of(messages, tools=tools, metadata={"original_responses": ['{"name":"find","arguments":{"x":1}}']})
    await frozen(store, [row])
    found = await run(store, teachers, Wanted("support", has_recorded=True))
    assert found.suite == "tool"
    assert found.evaluations[0].metrics["scores"]["binary_tool_call"]["mean"] == 1


async def test_the_judge_is_counted_and_warned_of_and_never_guessed(store: EvaluationStore, teachers: Teachers) -> None:
    await frozen(store, [text_row(number) for number in range(6)])
    teachers.reply = right_in(0.5, text_for)

    def verdict(data: Any) -> str:
        return "who knows" if "question 1?" in str(data) else '{"reason": "wrong", "verdict": "bad"}'

    teachers.judge = verdict
    wanted = Wanted("support", ("gpt-x",), judge="gpt-judge")
    found = await run(store, teachers, wanted)
    (evaluation,) = found.evaluations
    score, judge = evaluation.metrics["scores"]["llm-as-a-judge"], evaluation.counts["judge"]
    assert judge["asked"] == sum(kind_of(body) == "tracemill_judge" for body in teachers.requests)
    assert judge["asked"] + judge["without_question"] == 6
    assert score["missing"] == judge["unparsable"]
    assert any("same family as gpt-x" in warning for warning in found.warnings)


async def test_classes_and_strata_tell_where_a_model_is_wrong(store: EvaluationStore, teachers: Teachers) -> None:
    await frozen(store, [label_row(number, tags=["vip"] if number < 6 else ["new"]) for number in range(30)])
    teachers.reply = lambda body: {"content": "billing" if label_for(body) == "technical" else label_for(body)}
    (evaluation,) = (await run(store, teachers, WANTED)).evaluations
    assert evaluation.metrics["classes"]["technical"] == {"precision": 0, "recall": 0, "f1-score": 0, "support": 10}
    confusion = evaluation.metrics["confusion"]
    at = confusion["classes"].index
    assert confusion["counts"][at("technical")][at("billing")] == 10
    assert sum(map(sum, confusion["counts"])) == 30
    tags = {line["name"]: line["answers"] for line in evaluation.metrics["strata"] if line["kind"] == "tag"}
    assert tags == {"new": 24, "vip": 6}


async def test_parts_are_asked_as_they_were_split(store: EvaluationStore, teachers: Teachers) -> None:
    parts = (Part.TEST, Part.TRAIN, None, Part.UNSTRUCTURED)
    version = await frozen(store, [label_row(number) for number in range(8)], part=lambda number: parts[number % 4])
    teachers.reply = right_in(1.0, label_for)
    asked, hashes = {}, {}
    for part in ("test", "train", "all"):
        found = await run(store, teachers, Wanted("support", ("m",), part=part, suite="classification"))
        asked[part], hashes[part] = found.evaluations[0].counts["rows"], found.evaluations[0].test_hash
        assert any("train" in warning for warning in found.warnings) is (part != "test")
    assert asked == {"test": 2, "train": 4, "all": 6}
    assert hashes["test"] == version.test_hash
    assert len(set(hashes.values())) == 3


async def test_an_active_version_is_refused_with_the_command_that_freezes_it(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(0)], freeze=False)
    with pytest.raises(DatasetError, match="tracemill datasets freeze support"):
        await run(store, teachers, Wanted("support-v1", ("m",)))
    assert teachers.requests == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("support", ("m",), part="half"), "--part"),
        (Wanted("support", ("m",), suite="guess"), "--task"),
        (Wanted("support", ("m",), part="train"), "no rows to ask in part train (4 test, 0 train, 0 not split)"),
        (Wanted("support", ("m",), judge="j", suite="classification"), "--judge"),
        (Wanted("support", ("m",), metrics=("llm-as-a-judge",), suite="text"), "--judge"),
        (Wanted("support"), "--model"),
        (Wanted("support", has_recorded=True), "holds its original answer"),
    ],
)
async def test_what_does_not_fit_is_said_before_anything_is_paid(
    store: EvaluationStore, teachers: Teachers, wanted: Wanted, said: str
) -> None:
    await frozen(store, [label_row(number) for number in range(4)])
    with pytest.raises(InputError, match=re.escape(said)):
        await run(store, teachers, wanted)
    assert teachers.requests == []


async def test_an_unknown_metric_lists_those_there_are(store: EvaluationStore, teachers: Teachers) -> None:
    await frozen(store, [label_row(number) for number in range(4)])
    with pytest.raises(UnknownMetricError, match=r"bleu.*accuracy, rouge.*staged_tool_call"):
        await run(store, teachers, Wanted("support", ("m",), metrics=("bleu",)))
    with pytest.raises(UnknownMetricError, match=r"rouge.*there are accuracy"):
        await run(store, teachers, Wanted("support", ("m",), metrics=("rouge",), suite="classification"))


async def test_a_version_goes_by_the_task_of_the_run_that_made_those_it_follows(
    store: EvaluationStore, teachers: Teachers
) -> None:
    made = {
        "config": {"base": {"task": "classification"}},
        "job_description": {"task_description": "Sort.", "classes_description": {"billing": "b", "unheard": "u"}},
    }
    first = await frozen(store, [label_row(number) for number in range(4)], manifest=made)
    second = await store.open_version("support", birth=Birth.CURATE, manifest={"curated": True})
    assert second.parent == first.number
    await store.freeze(second)
    teachers.reply = right_in(1.0, label_for)
    found = await run(store, teachers, Wanted("support-v2", ("m",)))
    assert found.suite == "classification"
    assert found.evaluations[0].metrics["classes"]["unheard"]["support"] == 0


async def test_answers_and_verdicts_are_noted_as_about_the_traces_of_their_row(
    store: EvaluationStore, teachers: Teachers, tmp_path: Path
) -> None:
    trace = "01890a5d-ac96-774b-bcce-b302099a8057"
    await frozen(store, [text_row(0, source_trace_id=trace)])
    teachers.reply = lambda _: {"content": "wrong"}
    teachers.judge = '{"reason": "so", "verdict": "bad"}'
    found = await run(store, teachers, Wanted("support", ("m",), judge="j"))
    (prediction,) = await store.predictions(found.evaluations[0].evaluation_id)
    with closing(sqlite3.connect(tmp_path / "work.db")) as db:
        noted = set(db.execute("SELECT call_key, trace_id FROM call_sources"))
    assert noted == {(key, UUID(trace).bytes) for key in (prediction.call_key, prediction.judge_call)}


async def test_answers_bought_before_times_were_kept_are_counted_as_not_timed(
    store: EvaluationStore, teachers: Teachers, tmp_path: Path
) -> None:
    await frozen(store, [label_row(number) for number in range(9)])
    teachers.reply = right_in(1.0, label_for)
    (timed,) = (await run(store, teachers, WANTED)).evaluations
    assert (timed.latency["known"], timed.latency["unknown"]) == (9, 0)
    with closing(sqlite3.connect(tmp_path / "work.db")) as db, db:
        db.execute("UPDATE calls SET duration_ms = NULL WHERE key IN (SELECT key FROM calls ORDER BY key LIMIT 4)")
    (found,) = (await run(store, teachers, WANTED)).evaluations
    assert (found.latency["known"], found.latency["unknown"]) == (5, 4)
    assert found.metrics == timed.metrics
