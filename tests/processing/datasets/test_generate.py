"""Prompts become rows: asked several times, judged, the best kept, every answer accounted for, nothing bought twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from processing.budget import Budget
from processing.config_file import parse
from processing.datasets.choice import Keep
from processing.datasets.generate import Wanted, generate
from processing.datasets.generate_config import load_generate
from processing.datasets.generate_plan import plan_generate
from processing.datasets.generate_report import GenerateReport
from processing.datasets.prompt_file import Setting, read_prompts
from processing.errors import BudgetError, InputError
from processing.model_client import ModelClient
from processing.teachers import Teachers as Askers
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowState
from tests.processing.teachers import Body, Teachers, kind_of, last_user

SCORES = {"poor": 1, "fair": 3, "good": 4, "best": 5}
JUDGE = "tracemill_judge_row"


def judged(data: Body) -> Body | str:
    """Score an answer by the word that it begins with."""
    said = data["messages"][-1]["content"] or ""
    score = next((number for word, number in SCORES.items() if said.startswith(word)), None)
    if score is None:
        return "I cannot say."
    sides = dict.fromkeys(("helpfulness", "relevance", "format", "criteria"), score)
    return {"reason": "by its word", **sides}


class Script:
    """Answers each prompt with the words it is given, one after the other; a correction gets the next one, too."""

    def __init__(self, teachers: Teachers, *answers: str | Body) -> None:
        self.drawn: Counter[str] = Counter()
        self.answers = answers
        teachers.reply = self.reply
        teachers.judge_row = judged

    def reply(self, body: Body) -> Body:
        prompt = next(m["content"] for m in body["messages"] if m["role"] == "user")
        answer = self.answers[self.drawn[prompt] % len(self.answers)]
        self.drawn[prompt] += 1
        return dict(answer) if isinstance(answer, dict) else {"content": answer.replace("$", prompt)}


@asynccontextmanager
async def asking(teachers: Teachers, folder: Path, **config: Any) -> AsyncIterator[tuple[DatasetStore, Askers]]:
    found = parse({"base": {"task": "chat-completion", "llm_num_parallel_requests": 1}, **config}, source="config")
    environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
    async with await DatasetStore.open(folder / "work.db") as store, ModelClient(1, first_wait_s=0.01) as client:
        yield store, Askers(client, store, found, environ, budget=Budget())


async def made(
    teachers: Teachers,
    folder: Path,
    text: str,
    name: str = "made",
    *,
    ending: str = "txt",
    add: bool = False,
    **fields: Any,
) -> tuple[GenerateReport, dict[str, Row]]:
    """Generate from a file of prompts; the rows stand by their answers, or by their ids where there is none."""
    config = fields.pop("config", {})
    path = folder / f"prompts.{ending}"
    path.write_text(text, "utf-8")
    async with asking(teachers, folder, **config) as (store, askers):
        wanted = Wanted(teacher="teacher", judge="critic", **fields)
        report = await generate(path, name, store, askers, wanted, add=add)
        assert report.version is not None
        rows = [row async for row in store.rows(report.version)]
    assert (
        report.count(RowState.KEPT) + report.count(RowState.DROPPED) + report.count(RowState.FAILED) == report.entered
    )
    return report, {str(row.content.get("response") or row.row_id): row for row in rows}


def bought(teachers: Teachers) -> int:
    return len(teachers.requests)


async def test_a_prompt_with_a_key_that_stands_twice_is_flagged_and_said(teachers: Teachers, tmp_path: Path) -> None:
    """The teacher was paid for the last of two prompts, and nobody heard of the first."""
    Script(teachers, "best of $")
    lines = [
        '{"prompt": "tides"}',
        '{"prompt": "lost", "prompt": "whales"}',
        '{"prompt": "tides", "metadata": {"topic": 1, "topic": 2}}',
    ]
    said = 'A key stands twice in 2 of 3 records; its last value counts. The first is "prompt" in prompts.jsonl:2.'
    report, rows = await made(teachers, tmp_path, "\n".join(lines), ending="jsonl", n_samples=1)
    assert (report.count(RowState.KEPT), report.counts()["repeated_keys"]) == (2, 2)
    assert said in report.warnings
    flagged = {name.split("-")[0]: row.end.detail.get("repeated_key") for name, row in rows.items()}
    assert flagged == {"best of tides": None, "best of whales": "prompt", "unused": "topic"}
    async with asking(teachers, tmp_path) as (_, askers):
        plan = await plan_generate(tmp_path / "prompts.jsonl", askers, Wanted("teacher", "critic"))
    assert plan.warnings == (said,)


async def test_the_best_answer_to_each_prompt_becomes_a_row(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "fair $", "best of $", "good $ too", "best, as well, for $")
    report, rows = await made(teachers, tmp_path, "tides\n\nwhales\n", n_samples=4)
    assert report.counts() == {
        "prompts": 2,
        "samples": 4,
        "entered": 8,
        "kept": 2,
        "dropped": 6,
        "failed": 0,
        "reasons": {"dropped": {"not_best": 6}, "kept": {"generated": 2}},
        "repeated_keys": 0,
    }
    row = rows["best of tides"]
    assert (row.end.state, row.end.reason) == (RowState.KEPT, "generated")
    assert row.content["prompt"] == "tides"
    metadata = row.content["metadata"]
    assert (metadata["teacher_model"], metadata["judge_model"], metadata["judge_score"]) == ("teacher", "critic", 1.0)
    assert metadata["judge_reason"] == "by its word"
    lost = rows["good tides too"]
    assert (lost.end.reason, lost.end.detail["best"], lost.end.detail["judge_score"]) == ("not_best", row.row_id, 0.75)
    draws = [body for body in teachers.requests if kind_of(body) == "relabel"]
    assert {body["temperature"] for body in draws} == {0.7}
    assert [body["model"] for body in teachers.requests if kind_of(body) == JUDGE] == ["critic"] * 8


async def test_nothing_below_the_threshold_is_kept_and_moving_it_is_free(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "fair $", "poor $")
    report, rows = await made(teachers, tmp_path, "a question about tides\n", n_samples=2)
    assert report.counts()["reasons"] == {"dropped": {"low_judge_score": 1, "not_best": 1}}
    assert rows["fair a question about tides"].end.detail["threshold"] == 0.7
    assert any("No row is kept: the best score is 0.5" in warning for warning in report.warnings)
    paid = bought(teachers)
    report, rows = await made(teachers, tmp_path, "a question about tides\n", "lower", n_samples=2, threshold=0.5)
    assert (report.counts()["reasons"]["kept"], bought(teachers), report.paid) == ({"generated": 1}, paid, 0)


async def test_all_good_answers_can_be_kept(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "best: one way to say it", "good: quite another thing", "poor: nothing at all")
    report, _ = await made(teachers, tmp_path, "tides", n_samples=3, keep=Keep.ALL)
    assert report.counts()["reasons"] == {"kept": {"generated": 2}, "dropped": {"low_judge_score": 1}}


async def test_answers_that_say_the_same_are_judged_once(teachers: Teachers, tmp_path: Path) -> None:
    long = "good, since the moon pulls at the water of all the seas, twice in a day, wherever on the shore you stand"
    Script(teachers, long, f" {long}\n", f"{long}.", f"{long} 2", f"{long} 3")
    report, _ = await made(teachers, tmp_path, "tides", n_samples=5, keep=Keep.ALL)
    reasons = {"duplicate_answer": 1, "near_duplicate_answer": 1, "near_duplicate_row": 2}
    assert report.counts()["reasons"] == {"kept": {"generated": 1}, "dropped": reasons}
    assert teachers.count(JUDGE) == 3


async def test_rows_of_different_prompts_that_are_too_alike_give_one(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "good")
    ask = "please explain why the tides come twice in a day" + "".join(f", and {n * n}" for n in range(60))
    text = f"{ask}\n{ask}!\nwhat do whales eat\n"
    report, _ = await made(teachers, tmp_path, text, n_samples=1)
    assert report.counts()["reasons"] == {"kept": {"generated": 2}, "dropped": {"near_duplicate_row": 1}}
    loose = {"synthgen": {"validation_similarity_threshold": 1.0}}
    report, _ = await made(
        teachers, tmp_path, f"{ask}\n{ask}!\nwhat do whales eat\n", "loose", n_samples=1, config=loose
    )
    assert report.counts()["reasons"] == {"kept": {"generated": 3}}


async def test_every_way_to_give_no_row_has_its_reason(teachers: Teachers, tmp_path: Path) -> None:
    cut = {"content": "good, but", "finish_reason": "length"}
    Script(teachers, cut, "unheard of $", "good but very very long $ " + "x" * 200, {"content": "", "refusal": "no"})
    lines = [
        '{"prompt": "tides"}',
        '{"prompt": "tides", "metadata": {"n": 1}}',
        '{"prompt": ""}',
        "{",
        '{"messages": [1]}',
    ]
    config = {"synthgen": {"validation_max_total_length": 150}, "trace_processing": {"max_correction_steps": 0}}
    report, rows = await made(teachers, tmp_path, "\n".join(lines), ending="jsonl", n_samples=4, config=config)
    assert report.counts()["reasons"] == {
        "dropped": {"duplicate_prompt": 1, "too_long": 1},
        "failed": {"bad_message": 1, "no_answer": 2, "no_prompt": 1, "no_verdict": 1, "not_json": 1},
    }
    problems = {row.content["metadata"].get("problem") for row in rows.values() if row.end.reason == "no_answer"}
    assert problems == {"length", "the answer is a refusal"}


async def test_an_answer_that_does_not_fit_is_corrected(teachers: Teachers, tmp_path: Path) -> None:
    def reply(body: Body) -> Body:
        is_corrected = len(body["messages"]) > 2
        return {"content": '{"n": 1}' if is_corrected else "well: nothing"}

    teachers.reply, teachers.judge_row = reply, judged
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["n"]}}}
    report, rows = await made(
        teachers, tmp_path, "count", n_samples=1, setting=Setting("Be exact.", None, schema), threshold=0
    )
    assert report.counts()["reasons"]["failed"] == {"no_verdict": 1}
    (row,) = rows.values()
    assert [message["content"] for message in row.content["messages"]] == ["Be exact.", "count", '{"n": 1}']
    assert row.content["response_format"] == schema
    assert row.content["metadata"]["attempts"] == 2


async def test_tools_and_earlier_turns_go_along(teachers: Teachers, tmp_path: Path) -> None:
    call = {
        "content": None,
        "tool_calls": [{"id": "x7", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    }
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "look"},
    ]
    Script(teachers, call)
    line = json.dumps({"messages": turns, "tools": [tool], "metadata": {"topic": "x"}})
    _, rows = await made(teachers, tmp_path, line, ending="jsonl", n_samples=1)
    (row,) = rows.values()
    assert row.content["response"] == '{"name":"look","arguments":{}}'
    assert [message.get("weight") for message in row.content["messages"]] == [None, 0, None, 1]
    assert (row.content["tools"], row.content["metadata"]["topic"]) == ([tool], "x")
    assert teachers.requests[0]["tools"] == [tool]


async def test_message_traces_stand_beside_the_rows_that_failed_too(teachers: Teachers, tmp_path: Path) -> None:
    schema = {"type": "json_object"}
    Script(teachers, "no json", {"content": '{"a": 1}', "reasoning_content": " since so "}, "none here", "nor here")
    config = {"with_trace": {"generate": True, "judge": "last_message"}, "extract_reasoning_content": True}
    _, rows = await made(teachers, tmp_path, "p", n_samples=2, setting=Setting(None, None, schema), config=config)
    fitting = rows['{"a": 1}'].content
    trace = fitting["generate__trace"]
    assert [message["role"] for message in trace] == ["user", "assistant", "user", "assistant"]
    assert trace[1]["content"] == "no json"
    assert "not one JSON value" in trace[2]["content"]
    assert fitting["generate__reasoning_content"] == "since so"
    assert [message["content"] for message in fitting["judge__trace"]] == ["I cannot say."]
    (failed,) = [row.content for row in rows.values() if row.end.reason == "no_answer"]
    assert [message["content"] for message in failed["generate__trace"]][1::2] == ["none here", "nor here"]
    assert (failed["judge__trace"], failed["judge__reasoning_content"]) == (None, None)


async def test_more_prompts_pay_for_themselves_alone(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "good $", "best $")
    first, _ = await made(teachers, tmp_path, "tides\nwhales\n", n_samples=2)
    paid = bought(teachers)
    assert (paid, first.paid) == (8, 8)
    more, _ = await made(teachers, tmp_path, "sand dunes\nwhales\ntides\n", n_samples=2, add=True)
    assert (bought(teachers) - paid, more.paid) == (4, 4)
    assert more.counts()["reasons"]["dropped"]["already_there"] == 2
    assert more.version is not None
    assert more.version.counts.kept == 3
    assert len(more.version.manifest["added"]) == 1


async def test_a_plan_tells_what_would_be_bought(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "good $")
    path = tmp_path / "p.txt"
    path.write_text("tides\nwhales\n")
    price = {"price": {"input": 1.0, "output": 2.0}}
    models = {name: {"base_url": teachers.base_url, **price} for name in ("teacher", "critic")}
    async with asking(teachers, tmp_path, models=models) as (store, askers):
        wanted = Wanted("teacher", "critic", n_samples=1)
        plan = await plan_generate(path, askers, wanted)
        assert [(step.purpose, step.known, step.most) for step in plan.steps] == [
            ("generate", 0, 2),
            ("judge_row", 0, 2),
        ]
        assert plan.cost is not None
        assert plan.cost > 0
        assert bought(teachers) == 0
        await generate(path, "p", store, askers, wanted)
        plan = await plan_generate(path, askers, wanted)
        assert [(step.purpose, step.known, step.most) for step in plan.steps] == [
            ("generate", 2, 0),
            ("judge_row", 2, 0),
        ]
        assert plan.cost == 0


async def test_the_budget_stops_before_it_is_crossed_and_leaves_no_version(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "good $")
    (tmp_path / "p.txt").write_text("tides\nwhales\n")
    async with asking(teachers, tmp_path) as (store, askers):
        bounded = Askers(askers.client, store, askers.config, askers.environ, budget=Budget(3))
        with pytest.raises(BudgetError, match="budget of 3 calls"):
            await generate(tmp_path / "p.txt", "p", store, bounded, Wanted("teacher", "critic", n_samples=1))
        assert await store.datasets() == []
        report = await generate(tmp_path / "p.txt", "p", store, askers, Wanted("teacher", "critic", n_samples=1))
    assert (report.paid, bought(teachers)) == (1, 4)


async def test_a_judge_of_the_teachers_family_is_warned_of(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "good $")
    (tmp_path / "p.txt").write_text("tides\n")
    async with asking(teachers, tmp_path) as (store, askers):
        wanted = Wanted("openai/gpt-4o", "openai/gpt-4o-mini", n_samples=1)
        report = await generate(tmp_path / "p.txt", "p", store, askers, wanted)
    assert any("one family" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    "fields", [{"n_samples": 0}, {"n_samples": 65}, {"threshold": 1.1}, {"temperature": 0.0}, {"temperature": 3.0}]
)
def test_numbers_out_of_range_are_refused_before_anything_is_paid(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--"):
        Wanted("t", "j", **fields).check()


def test_prompts_without_any_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text(" \n\n")
    with pytest.raises(InputError, match="holds no prompt"):
        read_prompts(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt")
    path.write_bytes("a\u2028b\r\nc\r\n".encode() + b"\xff\n")
    found = read_prompts(path)
    assert [item.messages[0].content for item in found.items] == ["a\u2028b", "c"]
    assert [unused.place for unused in found.unused] == ["p.txt:3"]


def test_a_runs_own_configuration_will_do(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "base: {task: x, llm_num_parallel_requests: 7}\nwith_trace: all_messages\ntrace_processing: {max_restarts: 2}\n"
    )
    found = load_generate(path)
    assert (found.lanes, found.trace_processing.max_restarts) == (7, 2)
    assert found.message_traces.generate == "all_messages"
    path.write_text("models: {m: {base_ur: x}}\n")
    with pytest.raises(InputError, match="base_ur"):
        load_generate(path)


def command(folder: Path, teachers: Teachers, *more: str) -> "subprocess.Popen[str]":
    models = ["--teacher", "teacher", "--judge", "critic"]
    arguments = ["generate", "--prompts", str(folder / "p.txt"), *models, "--n-samples", "2"]
    environ = {**os.environ, "TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
    return subprocess.Popen(
        [sys.executable, "-m", "tracemill.cli", *arguments, "--data-dir", str(folder), *more],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def made_by_command(folder: Path, teachers: Teachers, *more: str) -> tuple[dict[str, Any], str]:
    """Generate to the end and freeze; give what was told and the version's hash."""
    out, err = command(folder, teachers, "--name", "d", "--json", *more).communicate(timeout=60)
    assert out, err
    frozen = subprocess.run(
        [sys.executable, "-m", "tracemill.cli", "datasets", "freeze", "d", "--json", "--data-dir", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(out), json.loads(frozen.stdout)["hash"]


def test_a_killed_command_buys_nothing_twice_and_makes_the_same_version(teachers: Teachers, tmp_path: Path) -> None:
    teachers.reply = lambda body: {"content": f"good, about {last_user(body)}"}
    teachers.judge_row = judged
    prompts = "".join(f"question {n} about {word}\n" for n, word in enumerate("abcdefgh"))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
        (folder / "p.txt").write_text(prompts)
    # One at a time, so that whatever was answered before the last question is known to be kept.
    one_at_a_time = killed / "c.yaml"
    one_at_a_time.write_text("base: {llm_num_parallel_requests: 1}\n")
    teachers.hold_from = 20
    running = command(killed, teachers, "--name", "d", "--config", str(one_at_a_time))
    assert teachers.held.wait(30)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert len(teachers.requests) == 20
    teachers.hold_from = None
    told, hash_ = made_by_command(killed, teachers, "--config", str(one_at_a_time))
    assert (told["kept"], told["entered"], told["cached"]) == (8, 16, 19)
    # Both draws of a prompt are one and the same request, and both say the same, so one of them is judged.
    bodies = Counter(json.dumps(body) for place, body in enumerate(teachers.requests) if place != 19)
    assert sorted(bodies.values()) == [1] * 8 + [2] * 8
    _, other = made_by_command(whole, teachers)
    assert hash_ == other


def test_the_command_tells_the_cost_first_and_what_is_wrong_in_a_sentence(teachers: Teachers, tmp_path: Path) -> None:
    Script(teachers, "good $")
    (tmp_path / "p.txt").write_text("tides\n")
    out, err = command(tmp_path, teachers, "--plan").communicate(timeout=60)
    assert "1 prompt, 2 answers to each." in out, err
    assert "In all 4 calls, 4 at most; the cost is unknown" in out
    assert bought(teachers) == 0
    bounded = command(tmp_path, teachers, "--name", "d", "--max-calls", "1")
    assert "budget of 1 calls is used up" in bounded.communicate(timeout=60)[1]
    assert bounded.returncode == 4
    system = tmp_path / "system.txt"
    system.write_text("Be brief.\n")
    done = command(tmp_path, teachers, "--name", "d", "--system", str(system))
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    assert out.startswith("d-v1: 1 prompt, 2 answers and unused lines: 1 kept, 1 dropped, 0 failed")
    assert teachers.requests[-2]["messages"][0] == {"role": "system", "content": "Be brief."}
