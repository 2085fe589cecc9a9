"""Message traces beside the rows: what was asked and said, corrections included, also for rows that failed."""

import json
from pathlib import Path
from typing import Any

import pytest

from processing import config_file
from processing.errors import InputError
from processing.inputs import Inputs
from tests.processing.teachers import Body, Teachers, kind_of
from tests.processing.test_pipeline import chat, inputs, rows, run

ASK = "Give me the balance of my account, please"
SCHEMA = {"type": "object", "properties": {"balance": {"type": "integer"}}, "required": ["balance"]}
WANTED = {"type": "json_schema", "json_schema": {"name": "b", "schema": SCHEMA}}
BAD = '{"balance": "much"}'


def one_conversation(**changes: Any) -> Inputs:
    line = {**chat(ASK, '{"balance": 1}'), "response_format": WANTED}
    top = {name: changes.pop(name) for name in list(changes) if name in TOP}
    given = inputs([line], num_traces_as_testing_base=0, num_traces_as_unfiltered_sample=0, **changes)
    raw = {**given.config.model_dump(mode="json"), **top}
    del raw["not_used"]
    return Inputs(given.intake, config_file.parse(raw, source="config.yaml"), given.description, None)


TOP = ("with_trace", "extract_reasoning_content", "debug_override_save_all_traces")


def first_bad(teachers: Teachers, times: int = 1) -> None:
    """Answer badly so many times in each conversation with a model, and then well."""
    seen: dict[str, int] = {}

    def reply(body: Body) -> Body:
        model = body["model"]
        seen[model] = seen.get(model, 0) + 1
        said = BAD if seen[model] <= times else '{"balance": 7}'
        return {"content": said, "reasoning_content": f"  thought {seen[model]}\n"}

    teachers.reply = reply


async def test_a_row_keeps_the_conversation_that_decided_it(teachers: Teachers, tmp_path: Path) -> None:
    first_bad(teachers)
    given = one_conversation(with_trace={"relabel": "all_messages"}, extract_reasoning_content=True)
    await run(given, teachers, tmp_path)
    (row,) = rows(tmp_path / "out", "train.jsonl")
    asked, bad, error, good = row["relabel__trace"][1:]
    assert row["relabel__trace"][0]["role"] == "system"
    assert asked == {"role": "user", "content": ASK}
    assert bad == {"role": "assistant", "content": BAD}
    assert (error["role"], "balance" in error["content"]) == ("user", True)
    assert good == {"role": "assistant", "content": '{"balance": 7}', "reasoning_content": "  thought 2\n"}
    assert row["relabel__reasoning_content"] == "thought 2"
    assert "filter__trace" not in row


@pytest.mark.parametrize(("said", "expected"), [("none", None), (False, None), ("last_message", 1), (True, 3)])
async def test_one_word_stands_for_all_steps(
    teachers: Teachers, tmp_path: Path, said: object, expected: int | None
) -> None:
    teachers.reply = lambda _body: {"content": '{"balance": 7}'}
    await run(one_conversation(with_trace=said), teachers, tmp_path)
    (row,) = rows(tmp_path / "out", "train.jsonl")
    assert len(row.get("relabel__trace", ())) == (expected or 0)
    assert ("filter__trace" in row) == (expected is not None)


async def test_traces_that_are_asked_for_later_cost_no_call(teachers: Teachers, tmp_path: Path) -> None:
    first_bad(teachers)
    await run(one_conversation(), teachers, tmp_path)
    paid = len(teachers.requests)
    await run(one_conversation(debug_override_save_all_traces=True), teachers, tmp_path)
    assert len(teachers.requests) == paid
    (row,) = rows(tmp_path / "out", "train.jsonl")
    assert [message["role"] for message in row["filter__trace"]][-1] == "assistant"
    assert len(row["relabel__trace"]) == 5


async def test_a_row_that_failed_keeps_its_trace(teachers: Teachers, tmp_path: Path) -> None:
    """Elsewhere the rows worth looking at leave nothing behind but log lines."""
    first_bad(teachers, times=99)
    given = one_conversation(with_trace=True, max_correction_steps=2)
    # The recorded answer is unfit, too, so that nobody has a usable one.
    line = {**chat(ASK, "no JSON at all"), "response_format": WANTED}
    given = Inputs(inputs([line]).intake, given.config, given.description, None)
    await run(given, teachers, tmp_path)
    (line,) = (each for each in rows(tmp_path / "out", "failed.jsonl") if each["kind"] == "example")
    assert line["reason"] == "no_candidate"
    # The last answer stands in the call that got it; the two before it were sent along.
    assert [message["content"] for message in line["relabel__trace"] if message["role"] == "assistant"] == [BAD] * 3


async def test_the_judges_trace_stands_beside_the_prediction(teachers: Teachers, tmp_path: Path) -> None:
    lines = [chat(f"What is the number of house {n}, on street {n * 7919}?", f"It is {n}") for n in range(12)]
    given = inputs(lines, num_traces_as_training_base=6, num_traces_as_testing_base=6)
    raw = given.config.model_dump(mode="json")
    del raw["not_used"]
    config = config_file.parse({**raw, "with_trace": {"judge": "last_message"}}, source="config.yaml")
    await run(Inputs(given.intake, config, given.description, None), teachers, tmp_path)
    predictions = rows(tmp_path / "out", "predictions.jsonl")
    assert predictions
    for line in predictions:
        (said,) = line["judge__trace"]
        assert json.loads(said["content"])["verdict"] in ("good", "bad")


async def test_a_model_that_says_the_same_again_is_asked_anew(teachers: Teachers, tmp_path: Path) -> None:
    first_bad(teachers, times=4)
    await run(one_conversation(max_correction_steps=1, max_restarts=2), teachers, tmp_path)
    asked = [body for body in teachers.requests if kind_of(body) == "relabel" and body["model"] == "one"]
    assert [body["temperature"] for body in asked] == [0, 0, 0.7, 0.7, 0.7]
    assert [len(body["messages"]) for body in asked] == [2, 4, 2, 4, 2]
    (row,) = rows(tmp_path / "out", "train.jsonl")
    assert row["response"] == '{"balance": 7}'
    await run(one_conversation(max_correction_steps=1, max_restarts=2), teachers, tmp_path)
    assert len([body for body in teachers.requests if kind_of(body) == "relabel"]) == 3 * len(asked)


@pytest.mark.parametrize("said", [3, "everything", {"relabeling": True}, {"relabel": "some"}])
def test_what_is_no_kind_of_trace_is_refused(said: object) -> None:
    with pytest.raises(InputError, match="with_trace"):
        config_file.parse({"base": {"task": "chat-completion"}, "with_trace": said}, source="config.yaml")
