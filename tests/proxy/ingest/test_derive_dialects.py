"""Calls of every dialect become traces of the same shape."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.assembly.endpoint import Endpoint
from store.json_text import JsonValue
from store.trace import Flag, Outcome, Trace
from store.trace_json import trace_json
from store.tree import chain
from tests.proxy.assembly.dialects import message_stream, response_stream, text_stream, wire
from tests.proxy.ingest.raw_calls import EVENT_STREAM, JSON_ANSWER, made

PATHS = {
    Endpoint.CHAT_COMPLETIONS: "/openai/deployments/d/chat/completions",
    Endpoint.COMPLETIONS: "/v1/completions",
    Endpoint.RESPONSES: "/openai/v1/responses",
    Endpoint.MESSAGES: "/anthropic/v1/messages",
}
TEXT_REQUEST = {"model": "m", "prompt": "Once", "max_tokens": 5, "user": "u"}
TEXT_ANSWER: dict[str, Any] = {
    "id": "cmpl-1",
    "model": "m-1",
    "choices": [{"index": 0, "text": " upon", "logprobs": {"tokens": [" upon"]}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
MESSAGES_REQUEST = {
    "model": "m",
    "max_tokens": 9,
    "system": "Be brief.",
    "metadata": {"user_id": "u"},
    "messages": [{"role": "user", "content": "Weather?"}],
}
MESSAGES_ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-1",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "One moment."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 9},
}
RESPONSES_REQUEST = {"model": "m", "instructions": "Be brief.", "input": "Weather?", "user": "u"}
RESPONSES_ANSWER: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "model": "m-1",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "One moment.", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc", "call_id": "toolu_1", "name": "weather", "arguments": '{"city":"Oslo"}'},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12},
}
CALLS = {
    Endpoint.COMPLETIONS: (TEXT_REQUEST, TEXT_ANSWER, wire(text_stream(TEXT_ANSWER, Random(1)))),
    Endpoint.MESSAGES: (
        MESSAGES_REQUEST,
        MESSAGES_ANSWER,
        wire(message_stream(MESSAGES_ANSWER, Random(1)), named=True, done=False),
    ),
    Endpoint.RESPONSES: (
        RESPONSES_REQUEST,
        RESPONSES_ANSWER,
        wire(response_stream(RESPONSES_ANSWER, Random(1)), named=True, done=False),
    ),
}


def called(endpoint: Endpoint, request: JsonValue, answer: bytes | JsonValue, **changes: Any) -> Trace:
    is_stream = isinstance(answer, bytes)
    body = answer if is_stream else json.dumps(answer).encode()
    return made(
        **{
            "path": PATHS[endpoint],
            "request_body": json.dumps(request).encode(),
            "response_body": body,
            "response_headers": EVENT_STREAM if is_stream else JSON_ANSWER,
        }
        | changes
    )


def messages_of(trace: Trace) -> list[Any]:
    return [json.loads(message) for message in trace.messages]


@pytest.mark.parametrize("endpoint", CALLS)
def test_a_call_of_any_dialect_becomes_a_complete_trace(endpoint: Endpoint) -> None:
    request, answer, _ = CALLS[endpoint]
    trace = called(endpoint, request, answer)
    assert trace.is_complete
    assert trace.flags == frozenset()
    assert (trace.endpoint, trace.outcome, trace.user) == (endpoint.value, Outcome.COMPLETED, "u")
    assert (trace.requested_model, trace.served_model, trace.upstream_id) == ("m", "m-1", answer["id"])
    assert json.loads(trace.usage or b"") == answer["usage"]
    assert len(trace.replies) == 1
    assert chain(trace.messages)
    assert json.loads(trace_json(trace))["endpoint"] == endpoint.value


@pytest.mark.parametrize("endpoint", CALLS)
def test_a_stream_of_any_dialect_becomes_the_same_trace(endpoint: Endpoint) -> None:
    request, answer, stream = CALLS[endpoint]
    plain, streamed = called(endpoint, request, answer), called(endpoint, request, stream)
    assert (streamed.replies, streamed.flags, streamed.error) == (plain.replies, plain.flags, plain.error)
    assert (streamed.prompt_tokens, streamed.completion_tokens) == (plain.prompt_tokens, plain.completion_tokens)
    assert (streamed.upstream_id, streamed.served_model) == (plain.upstream_id, plain.served_model)


def test_a_text_completion_is_a_users_prompt_and_an_assistants_text() -> None:
    trace = called(Endpoint.COMPLETIONS, TEXT_REQUEST, TEXT_ANSWER)
    assert messages_of(trace) == [{"role": "user", "content": "Once"}]
    assert json.loads(trace.replies[0].message) == {"role": "assistant", "content": " upon"}
    assert (trace.replies[0].finish_reason, trace.replies[0].logprobs) == ("length", b'{"tokens":[" upon"]}')
    assert json.loads(trace.parameters) == {"model": "m", "max_tokens": 5, "user": "u"}
    assert (trace.prompt_tokens, trace.completion_tokens) == (1, 2)
    assert messages_of(called(Endpoint.COMPLETIONS, {"prompt": ["Once"]}, TEXT_ANSWER)) == messages_of(trace)


@pytest.mark.parametrize("prompt", [[1, 2], [[1], [2]], ["a", "b"], None, 7])
def test_a_prompt_that_is_not_one_text_stays_in_the_parameters(prompt: JsonValue) -> None:
    choices = [{"index": index, "text": "x", "finish_reason": "stop"} for index in range(4)]
    trace = called(Endpoint.COMPLETIONS, {"prompt": prompt, "n": 2, "echo": True}, {"choices": choices})
    assert json.loads(trace.parameters)["prompt"] == prompt
    assert (trace.messages, len(trace.replies)) == ((), 4)
    assert Flag.REQUEST_MALFORMED in trace.flags
    assert not trace.is_complete


@pytest.mark.parametrize("endpoint", [Endpoint.MESSAGES, Endpoint.RESPONSES])
def test_reasoning_text_and_calls_are_where_chat_form_has_them(endpoint: Endpoint) -> None:
    request, answer, _ = CALLS[endpoint]
    trace = called(endpoint, request, answer)
    message = json.loads(trace.replies[0].message)
    assert messages_of(trace) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
    ]
    assert (message["content"], message["reasoning_content"]) == ("One moment.", "Hm.")
    assert message["tool_calls"] == [
        {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    ]
    assert message["verbatim"] == answer.get("content", answer.get("output"))
    assert (trace.prompt_tokens, trace.completion_tokens) == (3, 9)


def test_the_next_request_goes_on_where_the_reply_ended() -> None:
    """An agent sends back what it got: the trace is the same chain of messages, so the two are stitched."""
    sent = MESSAGES_REQUEST["messages"]
    assert isinstance(sent, list)
    echoed = {"role": "assistant", "content": MESSAGES_ANSWER["content"]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]}
    first = called(Endpoint.MESSAGES, MESSAGES_REQUEST, MESSAGES_ANSWER)
    second = called(Endpoint.MESSAGES, {**MESSAGES_REQUEST, "messages": [*sent, echoed, result]}, MESSAGES_ANSWER)
    assert second.messages[:-1] == (*first.messages, first.replies[0].message)
    items = [{"role": "user", "content": "Weather?"}, *RESPONSES_ANSWER["output"]]
    output = {"type": "function_call_output", "call_id": "toolu_1", "output": "rain"}
    first = called(Endpoint.RESPONSES, RESPONSES_REQUEST, RESPONSES_ANSWER)
    second = called(Endpoint.RESPONSES, {**RESPONSES_REQUEST, "input": [*items, output]}, RESPONSES_ANSWER)
    assert chain(second.messages)[-2].key == chain([first.replies[0].message], chain(first.messages)[-1])[0].key


@pytest.mark.parametrize(
    ("status", "details", "finish_reason"),
    [
        ("completed", None, "completed"),
        ("incomplete", {"reason": "max_output_tokens"}, "max_output_tokens"),
        ("incomplete", None, "incomplete"),
        ("in_progress", None, None),
    ],
)
def test_a_response_finishes_as_its_status_says(status: str, details: JsonValue, finish_reason: str | None) -> None:
    answer = RESPONSES_ANSWER | {"status": status, "incomplete_details": details}
    trace = called(Endpoint.RESPONSES, RESPONSES_REQUEST, answer)
    assert trace.replies[0].finish_reason == finish_reason
    assert (Flag.NO_FINISH_REASON in trace.flags) is (finish_reason is None)


def test_a_response_that_is_still_queued_has_no_reply() -> None:
    answer = {"id": "resp_1", "status": "queued", "output": [], "usage": None}
    trace = called(Endpoint.RESPONSES, RESPONSES_REQUEST, answer)
    assert (trace.replies, trace.is_complete, trace.flags) == ((), False, {Flag.NO_USAGE})


def test_a_refusal_and_logprobs_of_a_response_are_where_chat_form_has_them() -> None:
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    parts = [{"type": "output_text", "text": "x", "annotations": [], "logprobs": [token]}]
    said = {"type": "message", "role": "assistant", "content": parts}
    refused = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    reply = called(Endpoint.RESPONSES, RESPONSES_REQUEST, RESPONSES_ANSWER | {"output": [said]}).replies[0]
    assert json.loads(reply.logprobs or b"") == {"content": [token]}
    reply = called(Endpoint.RESPONSES, RESPONSES_REQUEST, RESPONSES_ANSWER | {"output": [refused]}).replies[0]
    assert json.loads(reply.message) == {"role": "assistant", "content": None, "refusal": "No."}


@pytest.mark.parametrize(
    ("endpoint", "event"),
    [
        (Endpoint.MESSAGES, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        (Endpoint.RESPONSES, {"type": "error", "code": "server_error", "message": "Overloaded", "param": None}),
        (
            Endpoint.RESPONSES,
            {"type": "response.failed", "response": {"status": "failed", "error": {"message": "Overloaded"}}},
        ),
    ],
)
def test_an_error_event_keeps_the_partial_reply(endpoint: Endpoint, event: dict[str, Any]) -> None:
    request, answer, _ = CALLS[endpoint]
    make = message_stream if endpoint is Endpoint.MESSAGES else response_stream
    begun = [
        part
        for part in make(answer, Random(1))[:-2]
        if part.get("output_index", part.get("index", 1)) == 1 and part["type"] != "message_delta"
    ]
    trace = called(endpoint, request, wire([*begun, event], named=True, done=False))
    assert trace.outcome is Outcome.UPSTREAM_ERROR
    assert "Overloaded" in (trace.error or "")
    assert json.loads(trace.replies[0].message)["content"] == "One moment."
    assert not trace.is_complete


def test_an_unfinished_tool_input_stays_the_raw_fragment() -> None:
    events = message_stream(MESSAGES_ANSWER, Random(1))
    last = max(place for place, event in enumerate(events) if event["type"] == "content_block_start")
    delta = {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"ci'}}
    for deltas, arguments in (([], ""), ([delta], '{"ci')):
        trace = called(Endpoint.MESSAGES, MESSAGES_REQUEST, wire([*events[: last + 1], *deltas], done=False))
        assert json.loads(trace.replies[0].message)["tool_calls"][0]["function"]["arguments"] == arguments
        assert trace.flags >= {Flag.ARGUMENTS_INVALID, Flag.STREAM_UNFINISHED, Flag.NO_FINISH_REASON}


def test_blocks_of_a_message_that_all_have_the_same_index_stay_apart() -> None:
    events = [
        event | ({"index": 0} if "index" in event else {}) for event in message_stream(MESSAGES_ANSWER, Random(1))
    ]
    trace = called(Endpoint.MESSAGES, MESSAGES_REQUEST, wire(events, done=False))
    assert trace.replies == called(Endpoint.MESSAGES, MESSAGES_REQUEST, MESSAGES_ANSWER).replies


def test_a_tool_without_arguments_has_the_empty_object_it_was_sent_with() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    trace = called(
        Endpoint.MESSAGES, MESSAGES_REQUEST, wire(message_stream(MESSAGES_ANSWER | {"content": [call]}, Random(1)))
    )
    assert json.loads(trace.replies[0].message)["tool_calls"][0]["function"]["arguments"] == "{}"
    assert trace.flags == frozenset()


@pytest.mark.parametrize("endpoint", CALLS)
def test_an_opted_out_call_of_any_dialect_keeps_no_content(endpoint: Endpoint) -> None:
    request, answer, _ = CALLS[endpoint]
    trace = called(endpoint, {**request, "store": False}, answer)
    kept = trace_json(trace)
    assert (trace.endpoint, trace.messages, trace.replies, trace.parameters) == (None, (), (), b"{}")
    assert b"moment" not in kept
    assert b"Once" not in kept
    assert trace.completion_tokens is not None


_NAMES = ["type", "content", "delta", "message", "index", "input", "output", "item", "part", "response", "text", "role"]
_NAMES += ["output_index", "content_index", "content_block", "partial_json", "arguments", "usage", "logprobs", "status"]
_NAMES += ["summary", "name", "id", "call_id", "tools", "messages", "system", "prompt", "choices", "source", "error"]
_KINDS = [
    "message",
    "text",
    "tool_use",
    "thinking",
    "image",
    "tool_result",
    "function_call",
    "reasoning",
    "output_text",
]
_KINDS += ["output_text", "refusal"]
_KINDS += ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
_KINDS += ["response.output_item.added", "response.output_text.delta", "response.completed", "input_json_delta"]
_KINDS += ["response.output_item.done", "response.content_part.added", "response.function_call_arguments.done"]
_KINDS += ["response.output_text.annotation.added", "text_delta", "citations_delta", "input_image", "input_file"]
_LEAVES = st.sampled_from([None, True, 0, 1, -3, 0.5, float("inf"), "", "a", "{", "\ud800", *_KINDS])
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5),
    max_leaves=20,
)
_FIELDS = st.dictionaries(st.sampled_from(_NAMES), _JSON)
_TYPED = st.builds(lambda kind, value: {"type": kind, **value}, st.sampled_from(_KINDS), _FIELDS)


@given(st.sampled_from(list(PATHS)), _JSON | _TYPED, st.lists(_JSON | _TYPED, max_size=5))
def test_nothing_of_the_wrong_shape_makes_it_fail(
    endpoint: Endpoint, request: JsonValue, events: list[JsonValue]
) -> None:
    streamed = called(endpoint, request, b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))
    plain = [called(endpoint, request, event) for event in events]
    for trace in (streamed, *plain):
        assert all(json.loads(reply.message)["role"] for reply in streamed.replies)
        assert chain(trace.messages) is not None
        assert json.loads(trace_json(trace))["id"]
