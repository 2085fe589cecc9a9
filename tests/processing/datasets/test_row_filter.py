import json
from typing import Any

import pytest

from processing.datasets.row_filter import CurationReason, FilterRules, fault_of, read_where
from processing.datasets.row_form import messages_of, row_of
from processing.errors import InputError

TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}


def text(said: str, *, response_format: Any = None, **metadata: Any) -> dict[str, Any]:
    return row_of(messages_of("question", said), response_format=response_format, metadata=metadata)


def call(arguments: str, name: str = "find") -> dict[str, Any]:
    called = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    asked = {"role": "user", "content": "find it"}
    return row_of([asked, {"role": "assistant", "content": None, "tool_calls": [called]}], tools=[TOOL])


def broken(row: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**row, "messages": [row["messages"][0], {**row["messages"][1], **fields}]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (text("fine"), None),
        (text("fine", outcome="completed", finish_reason="stop"), None),
        (text("cut", outcome="client_disconnect"), CurationReason.INCOMPLETE),
        (text("cut", finish_reason="length"), CurationReason.LENGTH),
        (text("cut", finish_reason="content_filter"), CurationReason.CONTENT_FILTER),
        (broken(text("x"), content=None, refusal="I will not"), CurationReason.REFUSAL),
        (broken(text("x"), content=" \n"), CurationReason.EMPTY_REPLY),
        (broken(text("x"), role="robot"), CurationReason.NOT_A_ROW),
        (call('{"q": "x"}'), None),
        (call('{"q": '), CurationReason.INVALID_TOOL_ARGUMENTS),
        (call("[1]"), CurationReason.INVALID_TOOL_ARGUMENTS),
        (call('{"q": 1}'), CurationReason.INVALID_TOOL_ARGUMENTS),
        (call("{}"), CurationReason.INVALID_TOOL_ARGUMENTS),
        (call('{"q": "x"}', "drop"), CurationReason.UNKNOWN_TOOL),
        (text('{"n": 1}', response_format=SCHEMA), None),
        (text('{"n": "one"}', response_format=SCHEMA), CurationReason.INVALID_RESPONSE),
        (text("one", response_format=SCHEMA), CurationReason.INVALID_RESPONSE),
        (text("[1]", response_format={"type": "json_object"}), CurationReason.INVALID_RESPONSE),
        (text("prose", response_format={"type": "text"}), None),
    ],
)
def test_what_cannot_be_learned_from_is_an_error(row: dict[str, Any], reason: CurationReason | None) -> None:
    fault = fault_of(row, FilterRules(), None)
    assert (fault and fault.reason) == reason
    if reason not in (None, CurationReason.NOT_A_ROW):
        assert fault_of(row, FilterRules(drop_errors=False), None) is None


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (FilterRules(max_chars=12), None),
        (FilterRules(max_chars=11), CurationReason.TOO_LONG),
        (FilterRules(min_chars=12), None),
        (FilterRules(min_chars=13), CurationReason.TOO_SHORT),
        (FilterRules(min_score=0.5), None),
        (FilterRules(min_score=0.51), CurationReason.BELOW_MIN_SCORE),
        (FilterRules(valid_json=True), CurationReason.NOT_JSON),
        (FilterRules(clusters=("34", "12")), None),
        (FilterRules(clusters=("12",)), CurationReason.OTHER_CLUSTER),
        (FilterRules(where={"tags": "a"}), None),
        (FilterRules(where={"tags": "b"}), CurationReason.NOT_SELECTED),
        (FilterRules(where={"team": "x=1"}), None),
        (FilterRules(where={"team": "x"}), None),
        (FilterRules(where={"is_changed": "true"}), None),
        (FilterRules(where={"absent": "x"}), CurationReason.NOT_SELECTED),
    ],
)
def test_each_rule_drops_with_its_reason(rules: FilterRules, reason: CurationReason | None) -> None:
    row = text("words", judge_score=0.5, cluster_id=34, tags=["a"], team={"x": 1}, is_changed=True)
    row["messages"][0]["content"] = "sevench"
    fault = fault_of(row, rules, None)
    assert (fault and fault.reason) == reason
    assert rules == FilterRules.from_json(json.loads(json.dumps(rules.as_json())))


def test_a_row_that_nobody_scored_is_not_below_a_score() -> None:
    assert fault_of(text("words"), FilterRules(min_score=1.0), None) is None


def test_json_is_asked_of_answers_and_not_of_tool_calls() -> None:
    assert fault_of(call('{"q": "x"}'), FilterRules(valid_json=True), None) is None
    assert fault_of(text('{"a": 1}'), FilterRules(valid_json=True), None) is None


def test_personal_data_are_looked_for_in_every_text_of_a_row_but_in_no_image() -> None:
    seen: list[str] = []

    def find(said: str) -> list[str]:
        seen.append(said)
        return ["card", "email"] if "secret" in said else []

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 2000}}
    asked = {"role": "user", "content": [{"type": "text", "text": "look"}, picture]}
    called = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"q": "secret"}'}}
    row = row_of([asked, {"role": "assistant", "content": None, "tool_calls": [called]}])
    fault = fault_of(row, FilterRules(pii="review"), find)
    assert fault is not None
    assert (fault.reason, fault.detail, fault.is_for_review) == (
        CurationReason.PERSONAL_DATA,
        {"kinds": ["card", "email"]},
        True,
    )
    assert "look" in seen
    assert not any(said.startswith("data:") for said in seen)


def test_conditions_are_fields_with_values() -> None:
    assert read_where(["tags=a=b", " team = x "]) == {"tags": "a=b", "team": "x"}
    for wrong in (["tags"], ["=x"], ["a=1", "a=2"]):
        with pytest.raises(InputError, match="field=value"):
            read_where(wrong)
