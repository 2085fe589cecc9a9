"""The scripted teachers against the processor's real prompts."""

import json
from typing import Any

import pytest

from processing.arbiter import ARBITER_SCHEMA
from processing.baseline import VERDICT_SCHEMA
from processing.candidates import REWRITE_SCHEMA
from processing.filter import SCORES_SCHEMA
from processing.prompt import ask
from processing.repair import check
from tracemill.demo.bank_tools import TOOLS
from tracemill.demo.cast import ARBITER, CAST, perform

TRANSFER = [{"role": "system", "content": "You are a bank."}, {"role": "user", "content": "Transfer $100 to savings."}]
RIGHT = {"name": "transfer_money", "arguments": '{"to_account":"savings","from_account":"checking","amount":100}'}
WRONG = {"name": "transfer_money", "arguments": '{"to_account":"savings","from_account":"checking","amount":1000}'}


def verdict(name: str, data: object, schema: dict[str, Any], **values: str) -> Any:
    request = {
        "model": ARBITER,
        "messages": ask(name, data, job_description="A banking assistant.", **values),
        "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}},
    }
    value = json.loads(perform(CAST[ARBITER], request)["content"])
    check(value, schema)
    return value


def test_off_topic_conversations_score_low_and_banking_high() -> None:
    poem = [{"role": "user", "content": "Write me a poem."}, {"role": "assistant", "content": "No."}]
    data = [{"id": "a", "messages": TRANSFER, "tools": []}, {"id": "b", "messages": poem, "tools": []}]
    scores = verdict("filter", data, SCORES_SCHEMA)["scores"]
    assert [(one["id"], one["relevance"]) for one in scores] == [("a", 5), ("b", 1)]


def test_the_arbiter_finds_the_right_call_among_wrong_ones() -> None:
    candidates = {
        "A": [{"content": None, "tool_calls": [WRONG]}],
        "B": [{"content": None, "tool_calls": [RIGHT]}],
        "C": [{"content": "Just check the app.", "tool_calls": []}],
    }
    data = {"conversation": TRANSFER, "tools": TOOLS, "response_format": None, "candidates": candidates}
    chosen = verdict("arbiter", data, ARBITER_SCHEMA)
    assert (chosen["best"], chosen["also_correct"], chosen["none_correct"]) == ("B", [], False)
    del candidates["B"]
    assert verdict("arbiter", data, ARBITER_SCHEMA)["none_correct"] is True


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"name": "transfer_money", "arguments": {"amount": 100, "from_account": "checking"}}', "bad"),
        (json.dumps({"arguments": json.loads(RIGHT["arguments"]), "name": RIGHT["name"]}), "good"),
        ("Just check the app.", "bad"),
    ],
)
def test_the_judge_holds_an_answer_against_its_reference(said: str, expected: str) -> None:
    reference = json.dumps({"name": RIGHT["name"], "arguments": json.loads(RIGHT["arguments"])})
    data = {"conversation": TRANSFER, "reference": reference, "answer": said}
    assert verdict("judge", data, VERDICT_SCHEMA, instructions="")["verdict"] == expected


def test_another_opening_is_no_other_answer() -> None:
    data = {"conversation": [], "reference": "It costs $12.", "answer": "Of course. It costs $12."}
    assert verdict("judge", data, VERDICT_SCHEMA, instructions="")["verdict"] == "good"


def test_a_rewrite_gives_a_message_for_each_position() -> None:
    call = {"id": "1", "type": "function", "function": WRONG}
    messages = [
        *TRANSFER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": '{"status": "done", "amount": 1000}'},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Just check the app."},
    ]
    data = {"messages": [{"position": place, **message} for place, message in enumerate(messages)]}
    data |= {"tools": TOOLS, "response_format": None}
    rewritten = verdict("rewrite", data, REWRITE_SCHEMA, positions="2, 5")["messages"]
    assert [message["position"] for message in rewritten] == [2, 5]
    assert json.loads(rewritten[0]["tool_calls"][0]["arguments"])["amount"] == 100
    assert rewritten[1]["content"].startswith("Hello!")


def test_a_job_description_is_given_back_as_short_as_it_was() -> None:
    request = {"model": ARBITER, "messages": ask("compress", "Help customers of a bank.")}
    assert perform(CAST[ARBITER], request)["content"] == "Help customers of a bank."
