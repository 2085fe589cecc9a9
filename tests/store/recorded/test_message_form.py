import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.recorded.chat_form import is_chat_form
from store.recorded.errors import MessageFormError
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import (
    CORRUPT_TOOL_ARGS,
    INVALID_TOOL_ARGS,
    UNPAIRED_TOOL_RESULT,
    argument_flags,
    read_messages,
    text_of,
    to_openai,
)

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "London"}'}}
EXPECTED = ToolCall("get_weather", '{"city": "London"}', "call_1")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "toolCalls": [CALL]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "call_1", "name": "get_weather", "arguments": '{"city": "London"}'}],
        },
        {
            "role": "assistant",
            "tool_calls": [{"toolCallId": "call_1", "toolName": "get_weather", "args": '{"city": "London"}'}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool-call", "toolCallId": "call_1", "toolName": "get_weather", "input": '{"city": "London"}'}
            ],
        },
    ],
    ids=["openai", "camel-case", "flat", "langfuse", "ai-sdk-part"],
)
def test_every_known_form_of_a_call_becomes_the_same_call(message: Json) -> None:
    (read,) = read_messages([message]).messages
    assert read == Message("assistant", None, (EXPECTED,))


def test_a_legacy_function_call_and_its_result_are_a_tool_call_and_a_tool_message() -> None:
    read = read_messages(
        [
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ]
    )
    assert read.messages == (Message("assistant", None, (ToolCall("f", "{}"),)), Message("tool", "1", name="f"))
    assert read.flags == ()


def test_arguments_given_as_an_object_become_text_and_text_stays_as_written() -> None:
    messages = [
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"b": 1, "a": "é"}}}, CALL]}
    ]
    calls = read_messages(messages).messages[0].tool_calls
    assert [call.arguments for call in calls] == ['{"b":1,"a":"é"}', '{"city": "London"}']


def test_a_tool_message_without_id_answers_the_single_open_call() -> None:
    messages = [{"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "cloudy"}]
    assert read_messages(messages).messages[1].tool_call_id == "call_1"


def test_a_tool_message_without_id_is_not_guessed_between_two_open_calls() -> None:
    second = {**CALL, "id": "call_2"}
    messages = [{"role": "assistant", "tool_calls": [CALL, second]}, {"role": "tool", "content": "cloudy"}]
    read = read_messages(messages)
    assert read.messages[1].tool_call_id is None
    assert read.flags == (UNPAIRED_TOOL_RESULT,)


def test_once_one_of_two_calls_is_answered_the_other_is_the_single_open_one() -> None:
    second = {**CALL, "id": "call_2"}
    results = [{"role": "tool", "content": "a", "tool_call_id": "call_2"}, {"role": "tool", "content": "b"}]
    read = read_messages([{"role": "assistant", "tool_calls": [CALL, second]}, *results])
    assert [message.tool_call_id for message in read.messages[1:]] == ["call_2", "call_1"]


def test_several_results_in_one_tool_message_become_one_message_each() -> None:
    parts = [
        {"type": "tool-result", "toolCallId": "a", "toolName": "f", "output": {"type": "text", "value": "one"}},
        {"type": "tool-result", "toolCallId": "b", "toolName": "g", "result": {"n": 2}},
    ]
    assert read_messages([{"role": "tool", "content": parts}]).messages == (
        Message("tool", "one", tool_call_id="a", name="f"),
        Message("tool", '{"n":2}', tool_call_id="b", name="g"),
    )


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ('{"a": 1}', set()),
        ('{"a":1}{"b":2}', {CORRUPT_TOOL_ARGS}),
        ('{"a":1} \n {"b":2}', {CORRUPT_TOOL_ARGS}),
        ('{"a":', {INVALID_TOOL_ARGS}),
        ("[1]", {INVALID_TOOL_ARGS}),
        ("", {INVALID_TOOL_ARGS}),
        ("[" * 100_000, {INVALID_TOOL_ARGS}),
    ],
)
def test_arguments_that_are_not_one_object_are_told_apart(arguments: str, flags: Json) -> None:
    assert argument_flags(arguments) == flags


def test_concatenated_arguments_are_flagged_and_kept() -> None:
    messages = [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}{"b":2}'}}]}]
    read = read_messages(messages)
    assert read.flags == (CORRUPT_TOOL_ARGS,)
    assert read.messages[0].tool_calls[0].arguments == '{"a":1}{"b":2}'


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_under_both_names(name: str) -> None:
    (message,) = read_messages([{"role": "assistant", "content": "4", name: "2+2"}]).messages
    assert message == Message("assistant", "4", reasoning="2+2")


@pytest.mark.parametrize(
    ("message", "field", "found"),
    [
        ({"role": "bot", "content": ""}, "role", "'bot'"),
        ({"content": ""}, "role", "missing"),
        ("text", "message", "a string"),
        ({"role": "user", "content": 7}, "content", "a number"),
        ({"role": "assistant", "tool_calls": {}}, "tool_calls", "an object"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "tool_calls[0].name", "missing or null"),
        ({"role": "assistant", "tool_calls": [{"type": "custom"}]}, "tool_calls[0].type", "'custom'"),
        ({"role": "tool", "tool_call_id": 1}, "tool_call_id", "a number"),
    ],
)
def test_an_error_names_position_field_what_stands_there_and_what_may(message: Json, field: str, found: str) -> None:
    with pytest.raises(MessageFormError) as caught:
        read_messages([{"role": "user", "content": "hi"}, message])
    assert (caught.value.position, caught.value.field, caught.value.found) == (1, field, found)
    assert caught.value.allowed in str(caught.value)


def test_unknown_fields_and_media_parts_survive_the_way_there_and_back() -> None:
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
        "weight": 0,
    }
    assert [to_openai(read) for read in read_messages([message]).messages] == [message]


def test_a_call_goes_back_as_openai_writes_it() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert to_openai(read_messages([message]).messages[0]) == message


def test_text_of_joins_text_parts() -> None:
    assert text_of(Message("user", [{"type": "text", "text": "a"}, {"type": "image_url"}, "b"])) == "ab"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "tool_calls",
                    "function",
                    "function_call",
                    "name",
                    "arguments",
                    "id",
                    "type",
                    "text",
                    "toolName",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "function", "developer"])},
    optional=dict.fromkeys(["content", "tool_calls", "toolCalls", "function_call", "name", "reasoning"], _values),
)


@given(st.lists(_messages | _values, max_size=4))
def test_any_value_is_read_or_refused_and_reading_again_changes_nothing(values: Json) -> None:
    try:
        read = read_messages(values)
    except MessageFormError:
        return
    written = [to_openai(message) for message in read.messages]
    assert read_messages(json.loads(json.dumps(written))) == read


@given(_values)
def test_what_counts_as_chat_form_can_always_be_read(value: Json) -> None:
    """Imports keep such a message without reading it."""
    if is_chat_form(value):
        assert len(read_messages([value]).messages) == 1


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{"}},
        {"role": "function", "name": "f", "content": "1"},
    ],
)
def test_messages_as_openai_writes_them_are_chat_form(message: Json) -> None:
    assert is_chat_form(message)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "bot", "content": "a"},
        {"role": "assistant", "toolCalls": []},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}]},
        {"role": "tool", "content": {"a": 1}},
        {"role": "tool", "content": [{"type": "tool-result"}]},
        {"role": "user", "content": "a", "name": 1},
    ],
)
def test_messages_that_others_write_are_not(message: Json) -> None:
    assert not is_chat_form(message)
