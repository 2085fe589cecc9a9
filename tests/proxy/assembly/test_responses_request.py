"""Requests of OpenAI's Responses API in chat form."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.assembly.request import Request
from proxy.assembly.responses_request import read_responses_request
from store import json_text
from store.trace import Flag

Json = dict[str, Any]


def read(request: Json) -> Request:
    return read_responses_request(json_text.members(json_text.compact(json.dumps(request).encode())))


def messages(*items: Json, **others: Any) -> list[Json]:
    return [json.loads(message) for message in read({"input": list(items), **others}).messages]


def test_a_text_is_a_users_message_and_instructions_come_first() -> None:
    request = read({"model": "m", "input": "Hi", "instructions": "Be brief.", "temperature": 0.5})
    assert [json.loads(message) for message in request.messages] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert json.loads(request.parameters) == {"model": "m", "temperature": 0.5}
    assert request.flags == frozenset()


def test_parts_are_written_as_chat_form_has_them() -> None:
    sent = {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look"},
            {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
            {"type": "input_image", "file_id": "file_1"},
        ],
    }
    assert messages(sent) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                {"type": "input_image", "file_id": "file_1"},
            ],
        }
    ]


def test_items_that_stand_together_are_one_assistant_message() -> None:
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "e",
    }
    said = {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "One moment.", "annotations": []}],
    }
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city": "Oslo"}',
    }
    result = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    assert messages({"role": "user", "content": "Hi"}, reasoning, said, call, result) == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "One moment.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
            ],
            "verbatim": [reasoning, said, call],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


def test_what_chat_form_can_say_is_not_kept_twice() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    (message,) = messages({"role": "assistant", "content": "Yes."}, call)
    assert "verbatim" not in message
    (message,) = messages(call, {"role": "assistant", "content": "Yes."})
    assert message["verbatim"] == [call, {"role": "assistant", "content": "Yes."}]


def test_custom_tools_and_the_upstreams_own_are_kept_apart() -> None:
    own = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "grep", "input": "a+b"}
    shell = {"type": "local_shell_call_output", "call_id": "l", "output": "ok"}
    made = messages(own, custom, shell)
    assert made[0]["content"] == [own]
    assert made[0]["tool_calls"] == [{"id": "c", "type": "custom", "custom": {"name": "grep", "input": "a+b"}}]
    assert made[1] == {"role": "tool", "tool_call_id": "l", "content": [shell]}


def test_an_item_nobody_knows_stands_for_itself() -> None:
    """Whose words it holds cannot be told, so no role is made up for it."""
    assert messages({"type": "thing_of_tomorrow", "x": 1}) == [{"type": "thing_of_tomorrow", "x": 1}]


@pytest.mark.parametrize(
    "request_body",
    [
        {"input": "And now?", "previous_response_id": "resp_1"},
        {"input": "And now?", "conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "x"}]},
    ],
)
def test_a_request_that_builds_on_what_the_upstream_keeps_is_flagged(request_body: Json) -> None:
    assert read(request_body).flags == {Flag.CONTEXT_ELSEWHERE}


def test_tools_and_the_format_of_the_answer_are_written_as_chat_form_has_them() -> None:
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    hosted = {"type": "web_search", "search_context_size": "low"}
    text = {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}
    request = read({"input": "x", "tools": [function, hosted], "text": text, "metadata": {"a": "b"}, "store": False})
    inner = {name: value for name, value in function.items() if name != "type"}
    assert json.loads(request.tools or b"") == [{"type": "function", "function": inner}, hosted]
    assert json.loads(request.response_format or b"") == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {}, "strict": True},
    }
    assert json.loads(request.parameters) == {"text": text, "metadata": {"a": "b"}, "store": False}
    assert request.is_opted_out


@pytest.mark.parametrize("body", [{"input": 7}, {"input": ["x"]}, {"model": "m"}, {"input": None, "instructions": "x"}])
def test_what_cannot_be_told_stays_where_it_was(body: Json) -> None:
    request = read(body)
    assert (json.loads(request.parameters), request.messages) == (body, ())
    assert request.flags == {Flag.REQUEST_MALFORMED}


_TEXTS = st.text(max_size=3)
_ITEMS = st.one_of(
    st.fixed_dictionaries({"role": st.just("assistant"), "content": _TEXTS}),
    st.fixed_dictionaries({"type": st.just("function_call"), "call_id": _TEXTS, "name": _TEXTS, "arguments": _TEXTS}),
    st.fixed_dictionaries({"type": st.just("custom_tool_call"), "call_id": _TEXTS, "name": _TEXTS, "input": _TEXTS}),
    st.fixed_dictionaries({"type": st.just("reasoning"), "summary": st.just([]), "encrypted_content": _TEXTS}),
    st.fixed_dictionaries({"type": st.just("mcp_call"), "id": _TEXTS}),
)


@given(st.lists(_ITEMS, min_size=1, max_size=5))
def test_the_items_of_an_assistant_message_can_be_told_from_it(items: list[Json]) -> None:
    (message,) = messages(*items)
    assert _items(message) == items


def _items(message: Json) -> list[Json]:
    if "verbatim" in message:
        return list(message["verbatim"])
    content = message["content"]
    parts = [] if content is None else content if isinstance(content, list) else [{"type": "text", "text": content}]
    said = [{"role": "assistant", "content": part["text"]} if part["type"] == "text" else part for part in parts]
    calls = message.get("tool_calls", ())
    return said + [{"type": _CALLED[call["type"]], "call_id": call["id"], **call[call["type"]]} for call in calls]


_CALLED = {"function": "function_call", "custom": "custom_tool_call"}
