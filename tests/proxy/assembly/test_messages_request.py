"""Requests of Anthropic's Messages API in chat form, and back: nothing is lost on the way."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.assembly.messages_request import read_messages_request
from proxy.assembly.request import Request
from store import json_text
from store.trace import Flag

Json = dict[str, Any]
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}


def read(request: Json) -> Request:
    return read_messages_request(json_text.members(json_text.compact(json.dumps(request).encode())))


def messages(*sent: Json, **others: Any) -> list[Json]:
    return [json.loads(message) for message in read({"messages": list(sent), **others}).messages]


def test_plain_messages_stay_the_very_characters_that_came() -> None:
    sent = rb'{"role":"user","content":[{"type":"text","text":"\u0041","n":1.0,"cache_control":{"type":"ephemeral"}}]}'
    request = read_messages_request(json_text.members(b'{"messages":[' + sent + b"]}"))
    assert request.messages == (sent,)
    assert (request.parameters, request.flags) == (b"{}", frozenset())


def test_the_system_prompt_is_the_first_message() -> None:
    blocks = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    hello = {"role": "user", "content": "Hi"}
    assert messages(hello, system="Be brief.") == [{"role": "system", "content": "Be brief."}, hello]
    assert messages(hello, system=blocks)[0] == {"role": "system", "content": blocks}
    assert json.loads(read({"messages": [hello], "system": "x", "max_tokens": 9}).parameters) == {"max_tokens": 9}


def test_a_call_and_its_result_are_a_tool_call_and_a_tool_message() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo", "n": 1.0}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain", "is_error": True}
    assert messages(
        {"role": "assistant", "content": [{"type": "text", "text": "One moment."}, call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And Rome?"}]},
    ) == [
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [
                {
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Oslo","n":1.0}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "rain", "is_error": True},
        {"role": "user", "content": [{"type": "text", "text": "And Rome?"}]},
    ]


def test_parallel_results_are_messages_in_their_order() -> None:
    results = [
        {"type": "tool_result", "tool_use_id": f"t{n}", "content": [{"type": "text", "text": f"{n}"}]} for n in (1, 2)
    ]
    made = messages({"role": "user", "content": results})
    assert [(message["role"], message["tool_call_id"]) for message in made] == [("tool", "t1"), ("tool", "t2")]
    assert made[0]["content"] == [{"type": "text", "text": "1"}]


def test_images_are_image_urls_also_inside_a_result() -> None:
    image = {"type": "image", "source": PNG, "cache_control": {"type": "ephemeral"}}
    part = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,aGk="},
        "cache_control": {"type": "ephemeral"},
    }
    linked = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
    stored = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    asked = messages({"role": "user", "content": [image, linked, stored]})[0]["content"]
    assert asked == [part, {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}, stored]
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    assert messages({"role": "user", "content": [result]})[0]["content"] == [part]


def test_reasoning_is_text_and_its_blocks_are_kept_with_their_signatures() -> None:
    blocks = [
        {"type": "thinking", "thinking": "First.", "signature": "s1"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "thinking", "thinking": "Then.", "signature": "s2"},
        {"type": "text", "text": "Four."},
    ]
    assert messages({"role": "assistant", "content": blocks}) == [
        {"role": "assistant", "content": "Four.", "reasoning_content": "First.\n\nThen.", "verbatim": blocks}
    ]


def test_blocks_that_chat_form_does_not_know_stay_in_their_place() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}, "title": "t"}
    searched = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": "Yes."},
    ]
    made = messages({"role": "user", "content": [document]}, {"role": "assistant", "content": searched})
    assert made == [{"role": "user", "content": [document]}, {"role": "assistant", "content": searched}]


def test_tools_of_the_client_are_functions_and_the_upstreams_own_stay() -> None:
    schema = {"type": "object", "properties": {}}
    hosted = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    tool = {
        "name": "weather",
        "description": "d",
        "input_schema": schema,
        "strict": True,
        "cache_control": {"type": "e"},
    }
    request = read(
        {"messages": [], "tools": [tool, {**tool, "type": "custom"}, hosted], "tool_choice": {"type": "any"}}
    )
    function = {
        "type": "function",
        "function": {"name": "weather", "description": "d", "parameters": schema, "strict": True},
        "cache_control": {"type": "e"},
    }
    assert json.loads(request.tools or b"") == [function, function, hosted]
    assert json.loads(request.parameters) == {"tool_choice": {"type": "any"}}


def test_the_schema_of_the_answer_is_a_response_format() -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    made = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    for field in ({"output_config": {"effort": "low", "format": wanted}}, {"output_format": wanted}):
        request = read({"messages": [], **field})
        assert json.loads(request.response_format or b"") == made
        assert json.loads(request.parameters) == field


def test_user_and_stream_are_read() -> None:
    request = read({"messages": [], "model": "claude", "metadata": {"user_id": "u-1"}, "stream": True})
    assert (request.user, request.model, request.is_streaming) == ("u-1", "claude", True)


def test_what_cannot_be_told_stays_where_it_was() -> None:
    for body in ({"messages": "hi", "system": "s"}, {"messages": ["hi"]}, {"system": "s"}):
        request = read(body)
        assert (json.loads(request.parameters), request.messages) == (body, ())
        assert request.flags == {Flag.REQUEST_MALFORMED}


# Losing nothing -------------------------------------------------------------------------------------------------------

_TEXTS = st.text(max_size=3)
_TEXT_BLOCKS = st.fixed_dictionaries({"type": st.just("text"), "text": _TEXTS})
_IMAGES = st.just({"type": "image", "source": PNG})
_DOCUMENTS = st.fixed_dictionaries({"type": st.just("document"), "source": st.just({"type": "url"})})
_RESULTS = st.fixed_dictionaries(
    {
        "type": st.just("tool_result"),
        "tool_use_id": _TEXTS,
        "content": _TEXTS | st.lists(_TEXT_BLOCKS | _IMAGES, min_size=1, max_size=2),
    }
)
_CALLS = st.fixed_dictionaries(
    {
        "type": st.just("tool_use"),
        "id": _TEXTS,
        "name": _TEXTS,
        "input": st.dictionaries(_TEXTS, st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=2),
    }
)
_THOUGHTS = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": _TEXTS, "signature": _TEXTS})
_USER = st.lists(_TEXT_BLOCKS | _IMAGES | _DOCUMENTS | _RESULTS, min_size=1, max_size=4)
_ASSISTANT = st.lists(_TEXT_BLOCKS | _CALLS | _THOUGHTS | _DOCUMENTS, min_size=1, max_size=4)


@given(_ASSISTANT)
def test_the_blocks_of_an_assistant_message_can_be_told_from_it(blocks: list[Json]) -> None:
    (message,) = messages({"role": "assistant", "content": blocks})
    assert _assistant_blocks(message) == blocks


@given(_USER)
def test_the_blocks_of_a_user_message_can_be_told_from_its_messages(blocks: list[Json]) -> None:
    made = messages({"role": "user", "content": blocks})
    assert [block for message in made for block in _user_blocks(message)] == blocks


def _assistant_blocks(message: Json) -> list[Json]:
    if "verbatim" in message:
        return list(message["verbatim"])
    content = message["content"]
    parts = [] if content is None else content if isinstance(content, list) else [{"type": "text", "text": content}]
    return parts + [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": json.loads(call["function"]["arguments"]),
        }
        for call in message.get("tool_calls", ())
    ]


def _user_blocks(message: Json) -> list[Json]:
    content = message["content"]
    blocks = content if isinstance(content, str) else [_block(part) for part in content]
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": blocks}]
    return list(blocks)


def _block(part: Json) -> Json:
    return {"type": "image", "source": PNG} if part["type"] == "image_url" else part
