import gzip
import json

import brotli  # type: ignore[import-untyped]
import pytest

from store.trace import Flag, Outcome
from tests.proxy.ingest.raw_calls import (
    ANSWER,
    BASE,
    EVENT_STREAM,
    JSON_ANSWER,
    MESSAGE,
    REQUEST,
    USAGE,
    answered,
    asked,
    made,
    streamed,
)


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
