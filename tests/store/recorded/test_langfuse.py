import json

import pytest

from store.recorded.call import RecordedCall, recorded_calls
from store.recorded.errors import LineError, RejectReason
from store.recorded.langfuse import read_observation
from store.recorded.message import Json, Message, ToolCall, Turn

QUESTION = [{"role": "user", "content": "hi"}]
ASKED = Message("user", "hi")
REPLY = {"role": "assistant", "content": "hello"}
COMPLETION = {"model": "gpt", "choices": [{"message": REPLY, "finish_reason": "stop"}]}


def read(**fields: Json) -> list[RecordedCall]:
    return recorded_calls(read_observation(fields), "f:1")


@pytest.mark.parametrize(
    "given",
    [
        QUESTION,
        {"messages": QUESTION},
        {"prompt": QUESTION},
        json.dumps({"messages": QUESTION, "model": "gpt"}),
        json.dumps(QUESTION),
        "hi",
    ],
    ids=["array", "request", "ai-sdk", "request as text", "array as text", "bare text"],
)
def test_every_known_form_of_input_is_the_same_question(given: Json) -> None:
    (call,) = read(id="o", input=given, output=REPLY)
    assert call.messages == (ASKED, Message("assistant", "hello"))


@pytest.mark.parametrize(
    "given",
    [
        REPLY,
        {"content": "hello"},
        "hello",
        COMPLETION,
        json.dumps(COMPLETION),
        json.dumps(REPLY),
        {
            "object": "response",
            "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}],
        },
        {"text": "hello", "finishReason": "stop"},
        [REPLY],
    ],
    ids=[
        "message",
        "no role",
        "text",
        "completion",
        "completion as text",
        "message as text",
        "responses",
        "ai-sdk",
        "array",
    ],
)
def test_every_known_form_of_output_is_the_same_reply(given: Json) -> None:
    (call,) = read(id="o", input=QUESTION, output=given)
    assert call.messages == (ASKED, Message("assistant", "hello"))


def test_the_completion_tells_model_and_finish_reason() -> None:
    (call,) = read(id="o", input=QUESTION, output=COMPLETION, model="alias")
    assert call.turn == Turn("o", "gpt", "stop")


def test_several_choices_are_several_replies() -> None:
    calls = read(
        id="o", input=QUESTION, output={"choices": [{"message": REPLY}, {"message": {**REPLY, "content": "yo"}}]}
    )
    assert [call.messages[-1].content for call in calls] == ["hello", "yo"]


def test_calls_of_responses_and_of_the_documented_array_are_tool_calls() -> None:
    responses = {"output": [{"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{}"}]}
    documented = [{"toolCallId": "c1", "toolName": "f", "input": {}}]
    for output in (responses, documented):
        (call,) = read(id="o", input=QUESTION, output=output)
        assert call.messages[-1] == Message("assistant", None, (ToolCall("f", "{}", "c1"),))


def test_an_answer_that_was_asked_for_in_json_stays_text() -> None:
    (call,) = read(id="o", input=QUESTION, output='{"label": "billing"}')
    assert call.messages[-1].content == '{"label": "billing"}'


def test_an_answer_that_langfuse_parsed_becomes_text_again() -> None:
    (call,) = read(id="o", input=QUESTION, output={"label": "billing"})
    assert call.messages[-1].content == '{"label":"billing"}'


def test_no_output_leaves_the_question_alone() -> None:
    (call,) = read(id="o", input=QUESTION, output=None)
    assert call.messages == (ASKED,)


@pytest.mark.parametrize("wrap", [lambda value: value, json.dumps], ids=["object", "text"])
def test_metadata_gives_tools_and_response_format_and_keeps_the_rest(wrap: Json) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    metadata = wrap({"tools": [json.dumps(tool)], "response_format": {"type": "json_object"}, "env": "prod"})
    (call,) = read(id="o", input=QUESTION, output=REPLY, metadata=metadata)
    assert (call.tools, call.response_format, call.metadata) == ([tool], {"type": "json_object"}, {"env": "prod"})


def test_legacy_functions_become_tools() -> None:
    (call,) = read(id="o", input={"messages": QUESTION, "functions": [{"name": "f"}]}, output=REPLY)
    assert call.tools == [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "SPAN", "input": QUESTION}, RejectReason.NOT_GENERATION),
        ({"level": "ERROR", "input": QUESTION}, RejectReason.LEVEL_ERROR),
        ({"input": None, "output": None, "metadata": "{}"}, RejectReason.NO_INPUT_OUTPUT),
        ({"input": None, "output": REPLY}, RejectReason.NO_MESSAGES),
        ({"input": [], "output": None}, RejectReason.NO_MESSAGES),
        ({"input": ["text"], "output": REPLY}, RejectReason.BAD_MESSAGE),
        ({"input": QUESTION, "output": ["text"]}, RejectReason.BAD_MESSAGE),
    ],
)
def test_what_is_no_answer_of_a_model_is_rejected_with_the_reason(fields: Json, reason: Json) -> None:
    with pytest.raises(LineError) as caught:
        read(id="o", **fields)
    assert caught.value.reason is reason
