"""Calls as the journal holds them, and the traces made of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from proxy.ingest.derive import derive
from proxy.journal.raw_call import RawCall
from store.json_text import JsonValue
from store.trace import Outcome, Trace

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
