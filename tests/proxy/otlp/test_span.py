"""A trace as a span of the GenAI conventions."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from proxy.otlp.span import is_wanted, make_span
from store.trace import Flag, Outcome, Reply, Trace
from tests.proxy.otlp.receiver import attributes

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
WHOLE = Trace(
    id=UUID("018f0000-0000-7000-8000-00000000002a"),
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    method="POST",
    path="/v1/chat/completions",
    route="default",
    upstream="https://api.example.com:8443/v1",
    outcome=Outcome.COMPLETED,
    endpoint="chat.completions",
    status=200,
    is_streaming=True,
    requested_model="gpt-x",
    served_model="gpt-x-2026",
    messages=(
        b'{"role":"system","content":"Be brief."}',
        (
            b'{"role":"user","content":[{"type":"text","text":"secret question"},'
            b'{"type":"image_url","image_url":{"url":"u"}}]}'
        ),
        b'{"role":"tool","tool_call_id":"c0","content":"42"}',
    ),
    parameters=b'{"model":"gpt-x","temperature":0.2,"top_p":1,"seed":7,"max_completion_tokens":99,"stop":"X","n":2}',
    replies=(
        Reply(
            0,
            b'{"role":"assistant","content":"secret answer","tool_calls":[{"id":"c1","type":"function","function":'
            b'{"name":"f","arguments":"{}"}}]}',
            "tool_calls",
        ),
        Reply(1, b'{"role":"assistant","content":null,"refusal":"no"}', "stop"),
    ),
    usage=b'{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},'
    b'"completion_tokens_details":{"reasoning_tokens":3}}',
    prompt_tokens=10,
    completion_tokens=5,
    ttft_ms=12.5,
    duration_ms=250.125,
    upstream_id="chatcmpl-1",
    session="conv-1",
    tags={"traceparent": PARENT, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "team": "secret tag"},
)


def test_a_chat_is_told_by_the_conventions() -> None:
    span = make_span(WHOLE, has_content=False)
    assert span.name == "chat gpt-x"
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert span.start_time_unix_nano == 1767323045678901000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 250_125_000
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "api.example.com",
        "server.port": 8443,
        "tracemill.trace_id": "018f0000-0000-7000-8000-00000000002a",
        "tracemill.route": "default",
        "tracemill.outcome": "completed",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ["X"],
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.top_p": 1,
        "gen_ai.request.seed": 7,
        "gen_ai.response.model": "gpt-x-2026",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["tool_calls", "stop"],
        "gen_ai.response.time_to_first_chunk": 0.0125,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "gen_ai.conversation.id": "conv-1",
    }


def test_a_span_stands_under_the_clients_own() -> None:
    span = make_span(WHOLE, has_content=False)
    assert span.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert span.flags == 0x301


def test_without_a_client_span_the_traces_own_id_is_the_trace() -> None:
    span = make_span(replace(WHOLE, tags={}), has_content=False)
    assert (span.trace_id, span.parent_span_id) == (WHOLE.id.bytes, b"")


def test_a_span_sent_twice_is_the_same_span() -> None:
    assert make_span(WHOLE, has_content=False).span_id == make_span(WHOLE, has_content=True).span_id
    assert make_span(WHOLE, has_content=False).span_id == hashlib.blake2b(WHOLE.id.bytes, digest_size=8).digest()


def test_under_a_span_that_is_not_recorded_there_is_none() -> None:
    assert is_wanted(WHOLE)
    assert is_wanted(replace(WHOLE, tags={}))
    assert not is_wanted(replace(WHOLE, tags={"traceparent": PARENT[:-1] + "0"}))


def test_an_imported_call_is_told_to_no_collector() -> None:
    """It may have come from that very collector."""
    assert not is_wanted(replace(WHOLE, flags=frozenset({Flag.IMPORTED})))


def test_no_content_goes_along_unless_it_is_asked_for() -> None:
    failed = replace(WHOLE, outcome=Outcome.UPSTREAM_ERROR, status=500, error='{"error":"secret error"}')
    assert b"secret" not in make_span(failed, has_content=False).SerializeToString()
    told = attributes(make_span(failed, has_content=True))
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "secret question"},
                {"type": "image_url", "image_url": {"url": "u"}},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": "42"}]},
    ]
    assert json.loads(told["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "secret answer"},
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": "{}"},
            ],
            "finish_reason": "tool_calls",
        },
        {"role": "assistant", "parts": [{"type": "refusal", "content": "no"}], "finish_reason": "stop"},
    ]
    assert told["error.message"] == '{"error":"secret error"}'


@pytest.mark.parametrize(
    ("outcome", "status", "error"),
    [
        (Outcome.UPSTREAM_ERROR, 429, "429"),
        (Outcome.UPSTREAM_ERROR, 200, "upstream_error"),
        (Outcome.UPSTREAM_UNREACHABLE, None, "upstream_unreachable"),
        (Outcome.CLIENT_DISCONNECT, 200, "client_disconnect"),
    ],
)
def test_a_call_that_did_not_complete_says_why(outcome: Outcome, status: int | None, error: str) -> None:
    span = make_span(replace(WHOLE, outcome=outcome, status=status), has_content=False)
    assert attributes(span)["error.type"] == error
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "")


@pytest.mark.parametrize(
    ("endpoint", "path", "name", "provider"),
    [
        ("messages", "/v1/messages", "chat gpt-x", "anthropic"),
        ("responses", "/v1/responses", "chat gpt-x", "openai"),
        ("completions", "/v1/completions", "text_completion gpt-x", "openai"),
        (None, "/v1/embeddings", "embeddings gpt-x", "openai"),
        (None, "/v1/files", "POST", None),
    ],
)
def test_every_dialect_has_its_operation(endpoint: str | None, path: str, name: str, provider: str | None) -> None:
    span = make_span(replace(WHOLE, endpoint=endpoint, path=path), has_content=False)
    assert span.name == name
    assert attributes(span).get("gen_ai.provider.name") == provider


def test_azure_is_told_by_its_host() -> None:
    trace = replace(WHOLE, upstream="https://mine.openai.azure.com/openai")
    assert attributes(make_span(trace, has_content=False))["gen_ai.provider.name"] == "azure.ai.openai"


def test_what_a_client_or_an_upstream_made_up_hurts_nothing() -> None:
    odd = replace(
        WHOLE,
        requested_model="m\ud800\x00",
        parameters=b'{"temperature":"warm","seed":123456789012345678901234567890,"n":{"a":1},"stop":[1,null,"x"]}',
        usage=b'{"prompt_tokens_details":[1]}',
        messages=(b'"no message"', b'{"role":"user","content":"\\ud800"}', b'{"tool_calls":{},"content":5}'),
        replies=(Reply(0, b'{"role":"assistant","tool_calls":[1,{"function":2}]}', None),),
    )
    told = attributes(make_span(odd, has_content=True))
    assert told["gen_ai.request.model"] == "m?\x00"
    assert "gen_ai.request.seed" not in told
    assert len(json.loads(told["gen_ai.input.messages"])) == 3


def test_messages_that_no_collector_would_take_are_left_out() -> None:
    large = replace(WHOLE, messages=(b'{"role":"user","content":"%s"}' % (b"x" * 300_000),))
    told = attributes(make_span(large, has_content=True))
    assert "gen_ai.input.messages" not in told
    assert "gen_ai.output.messages" in told
