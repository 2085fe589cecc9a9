"""The form of a row: the same content is the same row, and what is no row says why."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.datasets.row_form import RowFault, RowFormError, example_of, messages_of, row_id, row_of, targets_of

SAID = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(math.inf),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("role", "content", "tool_calls", "weight", "name", "refusal", "tool_call_id", "function_call")
ROLE = st.sampled_from(["system", "user", "assistant", "tool", "developer", "function", "other"])
MESSAGE = st.dictionaries(st.sampled_from(FIELDS), JSON | ROLE, max_size=5) | st.fixed_dictionaries(
    {"role": ROLE, "content": st.text(max_size=5) | JSON}, optional={"weight": st.sampled_from([0, 1, 2, True, "1"])}
)


def fault_of(messages: Any, **fields: Any) -> RowFault:
    with pytest.raises(RowFormError) as caught:
        row_of(messages, **fields)
    return caught.value.reason


def test_a_prompt_and_its_response_are_a_conversation_and_keep_their_plain_view() -> None:
    row = row_of(messages_of("2+2?", "4", system="Be short."), metadata={"source_trace_id": "t_af91", "plan": "pro"})
    assert row["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4", "weight": 1},
    ]
    assert (row["prompt"], row["response"]) == ("2+2?", "4")
    assert row["metadata"] == {
        "teacher_model": None,
        "judge_score": None,
        "cluster_id": None,
        "tags": [],
        "source_trace_id": "t_af91",
        "plan": "pro",
    }
    assert list(row) == ["row_id", "messages", "prompt", "response", "metadata"]


def test_the_same_content_is_the_same_row_whatever_is_known_of_it() -> None:
    row = row_of(SAID, metadata={"a": 1})
    assert row["row_id"] == row_of(messages_of("2+2?", "4"), metadata={"b": 2})["row_id"] == row_id(row)
    others = [
        row_of(messages_of("2+2?", "5")),
        row_of(SAID, tools=[TOOL]),
        row_of(SAID, response_format={"type": "json_object"}),
        row_of([*SAID, *SAID], targets=[1]),
        row_of([*SAID, *SAID]),
    ]
    assert len({row["row_id"], *(other["row_id"] for other in others)}) == 6


def test_a_row_read_again_is_itself() -> None:
    row = row_of([{"role": "system", "content": "s"}, *SAID, *SAID], tools=[TOOL["function"]], targets=[4])
    again = row_of(row["messages"], tools=row["tools"], metadata=row["metadata"])
    assert again == row
    assert row["tools"] == [TOOL]
    assert targets_of(row["messages"]) == (4,)


def test_every_answer_is_learned_unless_a_weight_says_otherwise() -> None:
    turns = [*SAID, {"role": "user", "content": "And 3+3?"}, {"role": "assistant", "content": "6"}]
    assert targets_of(row_of(turns)["messages"]) == (1, 3)
    weighed = [dict(message) for message in turns]
    weighed[1]["weight"] = 0
    row = row_of(weighed)
    assert targets_of(row["messages"]) == (3,)
    assert (row["prompt"], row["response"]) == ("And 3+3?", "6")
    weighed[3]["weight"] = 0
    assert fault_of(weighed) == RowFault.NOTHING_LEARNED


def test_what_nobody_asked_for_and_what_says_nothing_is_history_and_not_learned() -> None:
    greeting, silence = {"role": "assistant", "content": "Hi!"}, {"role": "assistant", "content": " "}
    row = row_of([greeting, SAID[0], silence, SAID[0], SAID[1]])
    assert [message.get("weight") for message in row["messages"]] == [0, None, 0, None, 1]


def test_a_tool_call_is_a_response() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 12345678901234567890}'}}
    row = row_of([SAID[0], {"role": "assistant", "content": None, "tool_calls": [call]}], tools=[TOOL])
    assert row["response"] == '{"name":"add","arguments":{"a":12345678901234567890}}'


@pytest.mark.parametrize(
    ("messages", "fields", "fault"),
    [
        ([], {}, RowFault.NO_MESSAGES),
        ("text", {}, RowFault.NO_MESSAGES),
        ([{"role": "user", "content": "x"}], {}, RowFault.NO_RESPONSE),
        ([{"role": "wizard", "content": "x"}], {}, RowFault.BAD_MESSAGE),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": " "}], {}, RowFault.EMPTY_RESPONSE),
        ([{"role": "assistant", "content": "x"}], {}, RowFault.NO_PROMPT),
        (messages_of(" ", "x", system="s"), {}, RowFault.NO_PROMPT),
        ([SAID[0] | {"weight": 1}, SAID[1]], {}, RowFault.BAD_WEIGHT),
        ([SAID[0], SAID[1] | {"weight": 2}], {}, RowFault.BAD_WEIGHT),
        (SAID, {"tools": [{"x": 1}]}, RowFault.BAD_TOOLS),
        (SAID, {"response_format": "json"}, RowFault.BAD_RESPONSE_FORMAT),
        (SAID, {"metadata": [1]}, RowFault.BAD_METADATA),
        (SAID, {"metadata": {"score": math.nan}}, RowFault.NOT_JSON),
    ],
)
def test_what_is_no_row_says_why(messages: Any, fields: dict[str, Any], fault: RowFault) -> None:
    assert fault_of(messages, **fields) == fault


def test_a_value_that_nests_too_deep_is_refused() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    assert fault_of(SAID, metadata={"deep": deep}) == RowFault.TOO_DEEP
    assert fault_of([{"role": "user", "content": [{"type": "x", "v": deep}]}, SAID[1]]) == RowFault.TOO_DEEP


def test_a_row_goes_through_the_stages_as_an_example_with_its_traces() -> None:
    trace = "01890a5d-ac96-774b-bcce-b302099a8057"
    row = row_of([*SAID, *SAID], metadata={"source_trace_id": trace, "conversation_id": "c", "group": "g"})
    example = example_of(row)
    assert (example.targets, example.conversation_id, example.group) == ((1, 3), "c", "g")
    assert example.turns[3].trace_id == trace
    assert all("weight" not in message.extra for message in example.messages)
    assert row == row_of(row["messages"], metadata=row["metadata"])


@given(st.lists(MESSAGE, max_size=4), JSON, JSON, JSON)
def test_anything_is_a_row_that_json_holds_or_an_error_with_a_reason(
    messages: list[Any], tools: Any, response_format: Any, metadata: Any
) -> None:
    try:
        row = row_of(messages, tools=tools, response_format=response_format, metadata=metadata)
    except RowFormError:
        return
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row_of(row["messages"], tools=row.get("tools"), metadata=row["metadata"])["messages"] == row["messages"]
    assert example_of(row).targets == targets_of(row["messages"])
