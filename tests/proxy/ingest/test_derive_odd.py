"""Requests and answers nobody should send."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.json_text import JsonValue
from store.trace import Flag, Outcome
from tests.proxy.ingest.raw_calls import (
    BASE,
    EVENT_STREAM,
    REQUEST,
    answered,
    asked,
    made,
)


@pytest.mark.parametrize(
    ("body", "flag"),
    [
        (b"", Flag.REQUEST_NOT_JSON),
        (b"{", Flag.REQUEST_NOT_JSON),
        (b"\xff\xfe{\x00}\x00", Flag.REQUEST_NOT_JSON),
        (b'{"messages":[{}],"t":NaN}', Flag.REQUEST_NOT_JSON),
        (b'{"messages":[{}]} trailing', Flag.REQUEST_NOT_JSON),
        (b'{"messages":' + b"[" * 1000 + b"]" * 1000 + b"}", Flag.REQUEST_NOT_JSON),
        (b'{"messages":[{}],"deep":' + b"[" * 300 + b"]" * 300 + b"}", Flag.REQUEST_NOT_JSON),
        (b"[" * 200_000, Flag.REQUEST_NOT_JSON),
        (b'{"n":' + b"1" * 5000 + b"}", Flag.REQUEST_NOT_JSON),
        (b"[]", Flag.REQUEST_MALFORMED),
        (b"null", Flag.REQUEST_MALFORMED),
        (b"{}", Flag.REQUEST_MALFORMED),
        (b'{"messages":"hi"}', Flag.REQUEST_MALFORMED),
        (b'{"messages":["hi"]}', Flag.REQUEST_MALFORMED),
        (b"--boundary\r\nmultipart", Flag.REQUEST_NOT_JSON),
    ],
)
def test_an_odd_request_is_flagged_and_never_complete(body: bytes, flag: Flag) -> None:
    trace = asked(body)
    assert flag in trace.flags
    assert not trace.is_complete
    assert trace.replies


def test_fields_of_an_unexpected_shape_stay_where_they_were() -> None:
    trace = asked(b'{"messages":"hi","tools":null,"response_format":null,"model":7,"user":{},"stream":"true"}')
    assert (
        trace.parameters == b'{"messages":"hi","tools":null,"response_format":null,"model":7,"user":{},"stream":"true"}'
    )
    assert (trace.tools, trace.response_format, trace.requested_model, trace.user) == (None, None, None, None)
    assert not trace.is_streaming


def test_of_a_field_named_twice_the_last_counts_and_none_is_lost() -> None:
    trace = asked(b'{"messages":[{"a":1}],"model":"x","messages":[{"b":2}],"model":"y"}')
    assert trace.messages == (b'{"b":2}',)
    assert trace.requested_model == "y"
    assert trace.parameters == b'{"messages":[{"a":1}],"model":"x","model":"y"}'
    assert Flag.REQUEST_MALFORMED in trace.flags


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert asked(b"\xef\xbb\xbf" + BASE.request_body).messages == made().messages


def test_legacy_functions_stay_as_they_were_sent() -> None:
    trace = asked(REQUEST | {"functions": [{"name": "f"}], "tools": None})
    assert trace.tools is None
    assert json.loads(trace.parameters)["functions"] == [{"name": "f"}]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b"{}", b'{"choices":null}', b'{"choices":[null,{},{"message":null}]}', b"<html>", b"[" * 5000],
)
def test_an_odd_answer_is_never_complete(body: bytes) -> None:
    trace = answered(body)
    assert trace.replies == ()
    assert not trace.is_complete


def test_indexes_that_collide_are_counted_anew() -> None:
    choices = [{"index": 0, "message": {"content": text}} for text in "ab"]
    assert [reply.index for reply in answered({"choices": choices}).replies] == [0, 1]


def test_texts_to_look_up_by_can_always_be_stored() -> None:
    """SQLite cannot bind half a surrogate pair."""
    body = rb'{"messages":[{}],"model":"a\ud800","user":"\udc00b"}'
    answer = rb'{"id":"\ud800","model":"\ud83d\ude42","choices":[{"message":{},"finish_reason":"\ud800"}]}'
    trace = made(request_body=body, response_body=answer)
    assert (trace.requested_model, trace.user, trace.upstream_id) == ("a\ufffd", "\ufffdb", "\ufffd")
    assert (trace.served_model, trace.replies[0].finish_reason) == ("🙂", "\ufffd")


@pytest.mark.parametrize(
    "usage",
    [
        b"null",
        b"7",
        b'{"prompt_tokens":null}',
        b'{"prompt_tokens":-1}',
        b'{"prompt_tokens":99999999999999999999}',
        b'{"prompt_tokens":"3"}',
    ],
)
def test_token_counts_that_are_none_are_not_zero(usage: bytes) -> None:
    trace = answered(b'{"choices":[{"message":{}}],"usage":' + usage + b"}")
    assert trace.prompt_tokens is None
    assert (trace.usage is None) is not usage.startswith(b"{")


@pytest.mark.parametrize(
    ("message", "tokens", "is_empty"),
    [
        ({"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": []}, 80, True),
        ({"role": "assistant", "content": ""}, 80, True),
        ({}, 80, True),
        ({"role": "assistant", "content": ""}, 0, False),
        ({"role": "assistant", "content": None, "reasoning_content": "Hm"}, 80, False),
        ({"role": "assistant", "content": None, "refusal": "No."}, 80, False),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}, 80, False),
    ],
)
def test_a_reply_that_says_nothing_for_its_tokens_is_flagged(message: JsonValue, tokens: int, is_empty: bool) -> None:
    """Eighty tokens of a tool call were missing from a gateway's record of a stream, and nothing told of it."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    trace = answered({"choices": [choice], "usage": {"completion_tokens": tokens}})
    assert (Flag.REPLY_EMPTY in trace.flags) is is_empty
    assert trace.is_complete


def test_what_a_client_did_not_wait_for_is_no_empty_reply() -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":""}}],"usage":{"completion_tokens":1}}\n\n'
    trace = made(response_body=body, response_headers=EVENT_STREAM, outcome=Outcome.CLIENT_DISCONNECT)
    assert Flag.REPLY_EMPTY not in trace.flags


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["application/json", "text/event-stream", ""]))
def test_no_bytes_make_it_fail(request: bytes, response: bytes, content_type: str) -> None:
    trace = made(request_body=request, response_body=response, response_headers=(("content-type", content_type),))
    assert trace.outcome in (Outcome.COMPLETED, Outcome.UPSTREAM_ERROR)


_NAMES = [
    "choices",
    "delta",
    "message",
    "index",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "id",
    "content",
    "role",
]
_NAMES += ["usage", "error", "logprobs", "messages", "tools", "model", "finish_reason", "function_call", "audio"]
_LEAVES = st.sampled_from([None, True, 0, 1, -3, 0.5, float("inf"), "", "a", "\ud800"])
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=15,
)


@given(_JSON, st.lists(_JSON, max_size=4))
def test_no_json_of_the_wrong_shape_makes_it_fail(request: JsonValue, chunks: list[JsonValue]) -> None:
    events = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    trace = made(request_body=json.dumps(request).encode(), response_headers=EVENT_STREAM, response_body=events)
    assert all(json.loads(reply.message)["role"] for reply in trace.replies)
    for chunk in chunks:
        assert answered(json.dumps(chunk).encode()).id == BASE.trace_id
