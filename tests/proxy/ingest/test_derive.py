import gzip
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ingest.derive import derive
from proxy.journal.raw_call import RawCall
from store.json_text import JsonValue
from store.trace import Flag, Outcome, Trace

REQUEST: dict[str, Any] = {
    "model": "m-1",
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [{"type": "function", "function": {"name": "weather", "strict": True}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "x"}},
    "temperature": 0.5,
    "vendor_field": {"deep": [1]},
    "metadata": {"team": "a"},
    "user": "u-1",
}
MESSAGE = {"role": "assistant", "content": "Hello", "refusal": None}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0}}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "m-1-2026",
    "system_fingerprint": "fp_1",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop", "logprobs": None}],
    "usage": USAGE,
}
JSON_ANSWER = (("content-type", "application/json"), ("x-request-id", "req-1"))
EVENT_STREAM = (("content-type", "text/event-stream; charset=utf-8"),)
BASE = RawCall(
    trace_id=UUID(int=7),
    started_at=datetime(2026, 1, 2, tzinfo=UTC),
    method="POST",
    path="/v1/chat/completions",
    route="default",
    upstream="http://u/v1",
    outcome=Outcome.COMPLETED,
    request_body=json.dumps(REQUEST).encode(),
    status=200,
    response_headers=JSON_ANSWER,
    response_body=json.dumps(ANSWER).encode(),
)


def made(**changes: JsonValue) -> Trace:
    return derive(replace(BASE, **changes), max_decoded_bytes=1_000_000)


def asked(body: bytes | dict[str, Any], *headers: tuple[str, str]) -> Trace:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return made(request_body=body, request_headers=headers)


def answered(body: bytes | dict[str, Any], **changes: JsonValue) -> Trace:
    return made(response_body=body if isinstance(body, bytes) else json.dumps(body).encode(), **changes)


def streamed(*deltas: dict[str, Any], end: bytes = b"data: [DONE]\n\n", **changes: JsonValue) -> Trace:
    chunks = [{"id": "c", "model": "m", "choices": [{"index": 0, **delta}]} for delta in deltas]
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end
    return made(**{"response_headers": EVENT_STREAM, "response_body": body} | changes)


def test_a_plain_call_becomes_a_complete_trace() -> None:
    trace = made(ttft_ms=1.5, duration_ms=2.5, request_bytes=10, response_bytes=20, key_fingerprint="k")
    assert trace.is_complete
    assert trace.flags == frozenset()
    assert (trace.endpoint, trace.status, trace.outcome) == ("chat.completions", 200, Outcome.COMPLETED)
    assert [json.loads(message) for message in trace.messages] == REQUEST["messages"]
    assert json.loads(trace.tools or b"") == REQUEST["tools"]
    assert json.loads(trace.response_format or b"") == REQUEST["response_format"]
    assert json.loads(trace.parameters) == {
        key: REQUEST[key] for key in ("model", "temperature", "vendor_field", "metadata", "user")
    }
    assert json.loads(trace.replies[0].message) == MESSAGE
    assert (trace.replies[0].finish_reason, trace.replies[0].logprobs) == ("stop", None)
    assert json.loads(trace.usage or b"") == USAGE
    assert (trace.prompt_tokens, trace.completion_tokens) == (3, 4)
    assert (trace.requested_model, trace.served_model) == ("m-1", "m-1-2026")
    assert (trace.upstream_id, trace.request_id, trace.system_fingerprint) == ("chatcmpl-1", "req-1", "fp_1")
    assert (trace.user, json.loads(trace.metadata or b"")) == ("u-1", {"team": "a"})
    assert (trace.ttft_ms, trace.duration_ms, trace.request_bytes, trace.response_bytes) == (1.5, 2.5, 10, 20)
    assert trace.key_fingerprint == "k"


def test_a_streamed_answer_gives_the_message_of_a_plain_one() -> None:
    trace = streamed(
        {"delta": MESSAGE | {"content": "Hel"}}, {"delta": {"content": "lo"}}, {"delta": {}, "finish_reason": "stop"}
    )
    assert trace.is_complete
    assert trace.replies == made().replies
    assert trace.flags == {Flag.NO_USAGE}


def test_stored_text_is_the_very_text_that_came() -> None:
    """Key order, big integers, floats as written, escapes: none is written anew."""
    message = (
        rb'{"role":"user","x":1E5,"a":123456789012345678901234567890,"content":"\u0041\u2028 \ud800 \u0000","n":-0.0}'
    )
    trace = asked(b'{ "messages" : [ ' + message + b' ],\n "seed": 9007199254740993, "t": 1.10 }')
    assert trace.messages == (message,)
    assert trace.parameters == b'{"seed":9007199254740993,"t":1.10}'


def test_the_answer_is_kept_as_it_was_written() -> None:
    reply = rb'{"content":"\u00e9","role":"assistant","tool_calls":[],"weight":1.00}'
    usage = b'{"total_tokens":1.0e1,"cost":0.000010}'
    trace = answered(b'{"choices":[{"message": ' + reply + b',"finish_reason":"stop"}],"usage":' + usage + b"}")
    assert (trace.replies[0].message, trace.usage) == (reply, usage)
    assert (trace.prompt_tokens, trace.completion_tokens) == (None, None)


def test_each_choice_is_a_reply() -> None:
    choices = [{"index": n, "message": MESSAGE | {"content": str(n)}, "finish_reason": "stop"} for n in (1, 0)]
    trace = answered(ANSWER | {"choices": choices})
    assert [(reply.index, json.loads(reply.message)["content"]) for reply in trace.replies] == [(0, "0"), (1, "1")]


@pytest.mark.parametrize(
    ("method", "path", "is_chat"),
    [
        ("POST", "/v1/chat/completions", True),
        ("POST", "/openai/deployments/d/chat/completions", True),
        ("GET", "/v1/chat/completions", False),
        ("POST", "/v1/embeddings", False),
        ("POST", "/v1/chat/completions/chatcmpl-1", False),
        ("POST", "/v1/chat%2fcompletions", False),
    ],
)
def test_only_chat_completions_keep_their_bodies(method: str, path: str, is_chat: bool) -> None:
    trace = made(method=method, path=path)
    assert (trace.endpoint == "chat.completions") is is_chat
    assert bool(trace.messages and trace.replies) is is_chat
    assert (trace.path, trace.status) == (path, 200)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_coded_bodies_are_read(coding: str) -> None:
    encode = gzip.compress if coding == "gzip" else brotli.compress
    trace = made(
        request_body=encode(BASE.request_body),
        request_headers=(("content-encoding", coding),),
        response_body=encode(BASE.response_body),
        response_headers=(*JSON_ANSWER, ("content-encoding", coding)),
    )
    assert (trace.messages, trace.replies, trace.flags) == (made().messages, made().replies, frozenset())


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", b"junk"), ("snappy", b"x"), ("gzip", gzip.compress(b"0" * 2_000_000))]
)
def test_an_answer_that_does_not_decode_is_flagged(coding: str, body: bytes) -> None:
    trace = answered(body, response_headers=(("content-encoding", coding),))
    assert Flag.RESPONSE_UNDECODABLE in trace.flags
    assert not trace.is_complete
    assert trace.messages


def test_a_cut_coded_stream_gives_what_could_be_decoded() -> None:
    text = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n' * 50
    trace = made(
        outcome=Outcome.CLIENT_DISCONNECT,
        response_headers=(*EVENT_STREAM, ("content-encoding", "gzip")),
        response_body=gzip.compress(text)[:-8],
    )
    assert trace.outcome is Outcome.CLIENT_DISCONNECT
    assert json.loads(trace.replies[0].message)["content"].startswith("HiHi")
    assert Flag.RESPONSE_UNDECODABLE not in trace.flags
    assert Flag.STREAM_UNFINISHED in trace.flags


# Errors and partial answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_an_error_status_is_an_upstream_error_with_its_body(status: int) -> None:
    trace = answered(b'{"error":{"message":"slow down"}}', status=status, outcome=Outcome.UPSTREAM_ERROR)
    assert (trace.outcome, trace.error) == (Outcome.UPSTREAM_ERROR, '{"error":{"message":"slow down"}}')
    assert (trace.replies, trace.flags) == ((), frozenset())
    assert trace.messages


def test_an_error_body_is_kept_up_to_its_bound() -> None:
    assert len(answered(b"\xe9" * 300_000, status=500).error or "") == 65_536


def test_an_error_inside_a_200_is_an_upstream_error() -> None:
    trace = answered({"error": {"message": "overloaded", "code": 529}})
    assert trace.outcome is Outcome.UPSTREAM_ERROR
    assert "overloaded" in (trace.error or "")


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.CLIENT_DISCONNECT, Outcome.UPSTREAM_ABORTED])
def test_an_error_event_is_an_upstream_error_even_if_somebody_hung_up_on_it(outcome: Outcome) -> None:
    trace = streamed(
        {"delta": {"content": "Hel"}}, end=b'data: {"error":{"message":"gone"}}\n\n', outcome=outcome, error="cut"
    )
    assert (trace.outcome, trace.error) == (Outcome.UPSTREAM_ERROR, '{"error":{"message":"gone"}}')
    assert json.loads(trace.replies[0].message)["content"] == "Hel"
    assert not trace.is_complete


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_DISCONNECT, Outcome.UPSTREAM_ABORTED, Outcome.INTERRUPTED])
def test_a_partial_stream_keeps_what_came(outcome: Outcome) -> None:
    trace = streamed({"delta": {"content": "Hel"}}, end=b'data: {"choi', outcome=outcome)
    assert trace.outcome is outcome
    assert json.loads(trace.replies[0].message) == {"role": "assistant", "content": "Hel"}
    assert trace.flags == {Flag.NO_FINISH_REASON, Flag.STREAM_UNFINISHED, Flag.NO_USAGE}


def test_a_call_without_an_answer_keeps_its_request() -> None:
    trace = made(
        status=None, response_headers=(), response_body=b"", outcome=Outcome.UPSTREAM_UNREACHABLE, error="refused"
    )
    assert (trace.outcome, trace.error, trace.status) == (Outcome.UPSTREAM_UNREACHABLE, "refused", None)
    assert (trace.messages, trace.flags) == (made().messages, frozenset())


def test_truncated_bodies_are_flagged_and_never_complete() -> None:
    trace = made(is_response_truncated=True, response_body=BASE.response_body[:40])
    assert {Flag.RESPONSE_TRUNCATED, Flag.RESPONSE_NOT_JSON} <= trace.flags
    assert Flag.REQUEST_TRUNCATED in made(is_request_truncated=True, request_body=BASE.request_body[:40]).flags
    assert not trace.is_complete


def test_arguments_that_are_no_object_are_flagged_and_kept() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    trace = answered(
        ANSWER | {"choices": [{"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "stop"}]}
    )
    assert trace.flags == {Flag.ARGUMENTS_INVALID}
    assert json.loads(trace.replies[0].message)["tool_calls"] == [call]


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/octet-stream"])
def test_a_stream_under_another_name_is_a_stream(content_type: str) -> None:
    headers = (("content-type", content_type),)
    assert json.loads(streamed({"delta": MESSAGE}, response_headers=headers).replies[0].message) == MESSAGE


def test_a_plain_answer_named_a_stream_is_read() -> None:
    assert answered(ANSWER, response_headers=EVENT_STREAM).replies == made().replies


# Odd requests --------------------------------------------------------------------------------------------------------


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


# Labels and opting out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "session", "user"),
    [
        ([("x-tracemill-session", "s"), ("helicone-session-id", "h")], "s", "u-1"),
        ([("helicone-session-id", "h"), ("helicone-user-id", "hu")], "h", "hu"),
        ([("x-portkey-trace-id", "p")], "p", "u-1"),
        ([("x-litellm-session-id", "l"), ("x-tracemill-user", "tu"), ("helicone-user-id", "hu")], "l", "tu"),
        ([("x-tracemill-session", " ")], None, "u-1"),
        ([("x-tracemill-user", "é漢".encode().decode("latin-1"))], None, "é漢"),
    ],
)
def test_session_and_user_come_from_our_headers_first(
    headers: list[tuple[str, str]], session: str | None, user: str
) -> None:
    trace = asked(REQUEST, *headers)
    assert (trace.session, trace.user) == (session, user)


@pytest.mark.parametrize(
    ("headers", "tags"),
    [
        ([("x-tracemill-tags", "env=prod, team = a=b ,urgent,,")], {"env": "prod", "team": "a=b", "urgent": ""}),
        (
            [("x-tracemill-tags", '{"env":"prod","n":1,"on":true,"none":null,"o":{"k":"é"}}')],
            {"env": "prod", "n": "1", "on": "true", "o": '{"k": "é"}'},
        ),
        ([("x-tracemill-tags", '["a","b"]')], {"a": "", "b": ""}),
        ([("x-litellm-tags", "a,b"), ("op-tags", '{"p":"q"}')], {"a": "", "b": "", "p": "q"}),
        ([("x-portkey-metadata", '{"env":"x"}'), ("x-tracemill-tags", "env=y")], {"env": "y"}),
        ([("helicone-property-plan", "pro"), ("helicone-property-", "x")], {"plan": "pro"}),
        ([("x-tracemill-tags", "{broken")], {"{broken": ""}),
        ([("x-tracemill-tags", r'{"a":"\ud800"}')], {"a": "\ufffd"}),
    ],
)
def test_tags_are_read_in_every_form(headers: list[tuple[str, str]], tags: dict[str, str]) -> None:
    assert asked(REQUEST, *headers).tags == tags


@pytest.mark.parametrize(
    ("body", "headers"),
    [(REQUEST, [("x-tracemill-capture", "Metadata")]), (REQUEST | {"store": False}, [])],
)
def test_an_opted_out_call_keeps_no_content(body: dict[str, Any], headers: list[tuple[str, str]]) -> None:
    trace = asked(body, *headers)
    assert (trace.endpoint, trace.messages, trace.tools, trace.response_format) == (None, (), None, None)
    assert (trace.parameters, trace.replies, trace.metadata, trace.error) == (b"{}", (), None, None)
    assert (trace.requested_model, trace.prompt_tokens, trace.user) == ("m-1", 3, "u-1")


def test_an_opted_out_error_keeps_no_body() -> None:
    trace = made(
        status=400,
        outcome=Outcome.UPSTREAM_ERROR,
        response_body=b"bad prompt: secret",
        request_headers=(("x-tracemill-capture", "metadata"),),
    )
    assert (trace.outcome, trace.error) == (Outcome.UPSTREAM_ERROR, None)


def test_store_true_changes_nothing() -> None:
    assert asked(REQUEST | {"store": True}).is_complete


# More than any call holds ---------------------------------------------------------------------------------------------


def test_a_request_of_too_many_values_is_flagged_and_taken_apart_no_further() -> None:
    """Seven million objects in 20 MB took ingest 17 seconds and half a gigabyte, and everybody else waited."""
    trace = asked(b'{"messages":[' + b",".join([b"{}"] * 300_001) + b"]}")
    assert Flag.REQUEST_NOT_JSON in trace.flags
    assert trace.messages == ()


def test_a_long_text_is_not_too_many_values() -> None:
    content = "if (x) { return [1, 2]; }, " * 20_000
    trace = derive(
        replace(BASE, request_body=json.dumps({"messages": [{"role": "user", "content": content}]}).encode()),
        max_decoded_bytes=1 << 24,
    )
    assert trace.flags == frozenset()
    assert json.loads(trace.messages[0])["content"] == content


def test_too_many_messages_are_kept_as_they_stand() -> None:
    trace = asked(b'{"model":"m","messages":[' + b",".join([b'{"role":"user"}'] * 20_001) + b"]}")
    assert trace.flags == {Flag.REQUEST_MALFORMED}
    assert trace.messages == ()
    assert len(json.loads(trace.parameters)["messages"]) == 20_001


def test_an_answer_of_too_many_values_or_choices_is_flagged() -> None:
    many = b'{"choices":[' + b",".join([b'{"message":{"role":"assistant"}}'] * 1_025) + b"]}"
    assert answered(many).flags >= {Flag.RESPONSE_NOT_JSON}
    huge = b'{"choices":[],"x":[' + b",".join([b"1"] * 2_000_001) + b"]}"
    trace = derive(replace(BASE, response_body=huge), max_decoded_bytes=1 << 24)
    assert trace.flags >= {Flag.RESPONSE_NOT_JSON}


def test_a_stream_is_read_as_far_as_it_is_no_more_than_an_answer() -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    body = chunk + b"\n" * 1_000_000 + chunk
    trace = derive(replace(BASE, response_headers=EVENT_STREAM, response_body=body), max_decoded_bytes=1 << 24)
    assert Flag.RESPONSE_TRUNCATED in trace.flags
    assert json.loads(trace.replies[0].message)["content"] == "Hi"
    assert not trace.is_complete


def test_a_stream_of_too_many_choices_keeps_the_first_ones() -> None:
    choices = [{"index": index, "delta": {"content": "x"}} for index in range(1_030)]
    body = b"data: " + json.dumps({"choices": choices}).encode() + b"\n\ndata: [DONE]\n\n"
    trace = made(response_headers=EVENT_STREAM, response_body=body)
    assert len(trace.replies) == 1_024
    assert Flag.RESPONSE_NOT_JSON in trace.flags


def test_lists_and_arguments_that_grow_entry_by_entry_take_time_in_step_with_their_length() -> None:
    """Both took the square of it: hours for a stream of 20 MB."""
    entries = b",".join(b'{"index":%d,"t":"a"}' % index for index in range(30_000))
    listed = b'data: {"choices":[{"index":0,"delta":{"x":[' + entries + b"]}}]}\n\n"
    fragment = b'{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}'
    called = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[' + fragment + b"]}}]}\n\n"
    body = listed * 2 + called * 30_000
    began = time.process_time()
    trace = derive(replace(BASE, response_headers=EVENT_STREAM, response_body=body), max_decoded_bytes=1 << 24)
    assert time.process_time() - began < 5
    message = json.loads(trace.replies[0].message)
    assert [entry["t"] for entry in message["x"]] == ["aa"] * 30_000
    assert message["tool_calls"][0]["function"]["arguments"] == "}" * 30_000
