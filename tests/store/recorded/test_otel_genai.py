import json

import pytest

from store.recorded.call import recorded_calls
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json, Message, ToolCall
from store.recorded.otel_genai import read_genai
from store.recorded.otel_span import is_span, spans_of
from store.recorded.source_call import SourceCall
from store.trace import Outcome

ASKED = [{"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": "Rain."}], "finish_reason": "stop"}]


def texts(call: SourceCall) -> list[Json]:
    return [message.content for message in recorded_calls(call, "f:1")[0].messages]


def otlp(value: Json) -> Json:
    """Write a value as OTLP's JSON does."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [otlp(item) for item in value]}}
    return {"kvlistValue": {"values": [{"key": name, "value": otlp(item)} for name, item in value.items()]}}


def span(attributes: Json, **fields: Json) -> Json:
    return {"attributes": [{"key": name, "value": otlp(value)} for name, value in attributes.items()], **fields}


SAID = {"gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED}
AS_TEXT = {name: json.dumps(value) for name, value in SAID.items()}


@pytest.mark.parametrize(
    "value",
    [
        SAID,
        AS_TEXT,
        {"attributes": AS_TEXT, "context": {"trace_id": "a", "span_id": "b"}},
        span(AS_TEXT),
        span(SAID),
        {"attributes": {}, "events": [{"name": "gen_ai.client.inference.operation.details", "attributes": AS_TEXT}]},
        {"body": {**SAID}, "attributes": {"gen_ai.operation.name": "chat"}},
        {
            "attributes": {"gen_ai.system": "openai"},
            "events": [
                {"name": "gen_ai.user.message", "attributes": {"content": "Weather?"}},
                {
                    "name": "gen_ai.choice",
                    "attributes": {"index": 0, "finish_reason": "stop", "message": '{"content": "Rain."}'},
                },
            ],
        },
        {
            "attributes": {"gen_ai.system": "openai"},
            "events": [
                {"name": "gen_ai.user.message", "body": {"role": "user", "content": "Weather?"}},
                {
                    "name": "gen_ai.choice",
                    "body": {"index": 0, "finish_reason": "stop", "message": {"content": "Rain."}},
                },
            ],
        },
        {
            "attributes": {"gen_ai.response.finish_reasons": ["stop"]},
            "events": [
                {
                    "name": "gen_ai.content.prompt",
                    "attributes": {"gen_ai.prompt": '[{"role": "user", "content": "Weather?"}]'},
                },
                {
                    "name": "gen_ai.content.completion",
                    "attributes": {"gen_ai.completion": '[{"role": "assistant", "content": "Rain."}]'},
                },
            ],
        },
        {
            "attributes": {
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": "Weather?",
                "gen_ai.completion.0.role": "assistant",
                "gen_ai.completion.0.content": "Rain.",
                "gen_ai.completion.0.finish_reason": "stop",
            }
        },
    ],
    ids=[
        "bare",
        "bare, as text",
        "SDK",
        "OTLP, as text",
        "OTLP",
        "details event",
        "log record",
        "span events",
        "events with bodies",
        "content events",
        "numbered",
    ],
)
def test_every_spelling_of_the_conventions_is_the_same_call(value: Json) -> None:
    assert is_span(value)
    call = read_genai(value)
    assert texts(call) == ["Weather?", "Rain."]
    assert (call.replies[0].finish_reason, call.outcome) == ("stop", Outcome.COMPLETED)


def test_parts_of_tools_reasoning_and_images_take_their_places_in_chat_form() -> None:
    asked = [
        {"role": "user", "parts": [
            {"type": "text", "content": "What is it?"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AA=="},
            {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
        ]},
        {"role": "assistant", "parts": [
            {"type": "reasoning", "content": "hm"},
            {"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": "it"}},
            {"type": "tool_call", "id": "c2", "name": "look", "arguments": "{}"},
        ]},
        {"role": "tool", "parts": [
            {"type": "tool_call_response", "id": "c1", "response": {"seen": True}},
            {"type": "tool_call_response", "id": "c2", "response": "nothing"},
        ]},
    ]  # fmt: skip
    (call,) = recorded_calls(read_genai({"gen_ai.input.messages": asked, "gen_ai.output.messages": ANSWERED}), "f")
    question, thinking, first, second, _ = call.messages
    assert question.content == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    calls = (ToolCall("look", '{"at":"it"}', "c1"), ToolCall("look", "{}", "c2"))
    assert thinking == Message("assistant", None, calls, reasoning="hm")
    assert (first, second) == (
        Message("tool", '{"seen":true}', tool_call_id="c1"),
        Message("tool", "nothing", tool_call_id="c2"),
    )


def test_what_a_span_tells_besides_is_kept() -> None:
    attributes = {
        **AS_TEXT,
        "gen_ai.system_instructions": '[{"type": "text", "content": "Be brief."}]',
        "gen_ai.tool.definitions": '[{"type": "function", "name": "f", "parameters": {"type": "object"}}]',
        "gen_ai.request.model": "asked",
        "gen_ai.response.model": "answered",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.conversation.id": "s1",
        "gen_ai.provider.name": "openai",
    }
    call = read_genai(
        span(
            attributes,
            traceId="aa",
            spanId="bb",
            name="chat asked",
            startTimeUnixNano="1767225600000000000",
            endTimeUnixNano="1767225601500000000",
        )
    )
    assert texts(call) == ["Be brief.", "Weather?", "Rain."]
    assert call.tools == [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert (call.requested_model, call.served_model, call.upstream_id) == ("asked", "answered", "chatcmpl-1")
    assert (call.parameters, call.usage) == ({"temperature": 0.5}, {"input_tokens": 7, "output_tokens": 2})
    assert (call.id, call.session, call.duration_ms) == ("aa/bb", "s1", 1500.0)
    assert call.created_at is not None
    assert call.created_at.isoformat() == "2026-01-01T00:00:00+00:00"
    assert call.about["gen_ai.provider.name"] == "openai"


def test_a_failed_span_is_a_failed_call() -> None:
    call = read_genai(span({"gen_ai.input.messages": ASKED, "error.type": "timeout"}, status={"code": 2}))
    assert (call.outcome, call.error, call.replies) == (Outcome.UPSTREAM_ERROR, "timeout", ())


def test_a_request_of_otlp_holds_each_of_its_spans() -> None:
    line = {"resourceSpans": [{"scopeSpans": [{"spans": [span(AS_TEXT), span({"http.method": "GET"})]}]}, {}]}
    assert is_span(line)
    first, second = spans_of(line)
    assert texts(read_genai(first)) == ["Weather?", "Rain."]
    with pytest.raises(LineError) as caught:
        read_genai(second)
    assert caught.value.reason is RejectReason.NOT_GENERATION


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"attributes": {"gen_ai.operation.name": "embeddings"}}, RejectReason.NOT_GENERATION),
        ({"attributes": {"gen_ai.operation.name": "invoke_agent", **SAID}}, RejectReason.NOT_GENERATION),
        ({"attributes": {"gen_ai.operation.name": "chat"}}, RejectReason.NO_INPUT_OUTPUT),
        ({"gen_ai.input.messages": 5}, RejectReason.BAD_MESSAGE),
        ({"gen_ai.input.messages": [5]}, RejectReason.BAD_MESSAGE),
        ({"gen_ai.output.messages": [{"role": "assistant"}]}, RejectReason.BAD_MESSAGE),
        ({**SAID, "gen_ai.tool.definitions": [{}]}, RejectReason.BAD_TOOLS),
    ],
)
def test_a_span_that_tells_of_no_conversation_is_rejected_with_the_reason(value: Json, reason: RejectReason) -> None:
    with pytest.raises(LineError) as caught:
        read_genai(value)
    assert caught.value.reason is reason


def test_a_span_of_our_own_collector_export_is_known_as_the_trace_it_was_made_of() -> None:
    trace_id = "019b76da-a800-7000-8000-000000000001"
    assert str(read_genai({"attributes": {**SAID, "tracemill.trace_id": trace_id}}).trace_id) == trace_id
