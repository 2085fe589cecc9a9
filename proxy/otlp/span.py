"""One trace as one span of OpenTelemetry, by the semantic conventions for generative AI (`gen_ai.*`).

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/. What is not known is left out. A span's ids come from
the trace's own, so that one that is sent twice is the same span. Its parent is the client's span when the call came
with a `traceparent`: then it stands in the application's own distributed trace.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from proxy.otlp.content import input_messages, output_messages
from proxy.traceparent import TraceParent
from store import json_text
from store.json_text import JsonTextError
from store.trace import Flag, JsonText, Outcome, Trace

_OPERATIONS = {"chat.completions": "chat", "responses": "chat", "messages": "chat", "completions": "text_completion"}
_SAME_NAMED = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "top_k")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SAMPLED = 0x01
_PARENT_IS_REMOTE = 0x100 | 0x200
"""It is known whether the parent is in another process, and it is (`SpanFlags` of OTLP)."""


def is_wanted(trace: Trace) -> bool:
    """Tell whether there is to be a span: not under a client's span that is not recorded itself.

    Nor of an imported call, which nobody made here: its own recorder may have told of it long ago.
    """
    parent = _parent(trace)
    return Flag.IMPORTED not in trace.flags and (parent is None or parent.is_sampled)


def resource_spans(traces: Iterable[Trace], *, service: str, version: str, has_content: bool) -> ResourceSpans:
    """Return the spans of several traces as one resource's.

    Args:
        traces: Those that `is_wanted` says yes to.
        service: `service.name` of the resource.
        version: Of Tracemill.
        has_content: Whether messages, and error texts of upstreams, go along.
    """
    resource = Resource(attributes=_key_values({"service.name": service, "service.version": version}))
    scope = InstrumentationScope(name="tracemill", version=version)
    spans = [make_span(trace, has_content=has_content) for trace in traces]
    return ResourceSpans(resource=resource, scope_spans=[ScopeSpans(scope=scope, spans=spans)])


def make_span(trace: Trace, *, has_content: bool) -> Span:
    """Return the span of one trace."""
    parent = _parent(trace)
    began = (trace.created_at - _EPOCH) // _MICROSECOND * 1000
    error = _error_type(trace)
    operation = _operation(trace)
    model = trace.requested_model
    attributes = {**_call(trace), "error.type": error}
    if operation is not None:
        attributes |= {"gen_ai.operation.name": operation, **_generation(trace)}
    if has_content:
        attributes |= _content(trace)
    return Span(
        trace_id=bytes.fromhex(parent.trace_id) if parent else trace.id.bytes,
        span_id=hashlib.blake2b(trace.id.bytes, digest_size=8).digest(),
        parent_span_id=bytes.fromhex(parent.span_id) if parent else b"",
        flags=int(parent.flags, 16) | _PARENT_IS_REMOTE if parent else _SAMPLED,
        name=_text(" ".join(filter(None, (operation, model))) if operation else trace.method),
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=began,
        end_time_unix_nano=began + round((trace.duration_ms or 0) * 1_000_000),
        attributes=_key_values(attributes),
        status=Status(code=Status.STATUS_CODE_ERROR if error is not None else Status.STATUS_CODE_UNSET),
    )


def _parent(trace: Trace) -> TraceParent | None:
    return TraceParent.parse(trace.tags.get("traceparent", ""))


def _operation(trace: Trace) -> str | None:
    """Give the operation by its conventional name; None for a call that generates nothing."""
    if trace.endpoint is not None:
        return _OPERATIONS.get(trace.endpoint)
    return "embeddings" if trace.path.endswith("/embeddings") else None


def _error_type(trace: Trace) -> str | None:
    if trace.outcome is Outcome.COMPLETED:
        return None
    is_status = trace.outcome is Outcome.UPSTREAM_ERROR and trace.status is not None and trace.status >= 400
    return str(trace.status) if is_status else trace.outcome.value


def _call(trace: Trace) -> dict[str, Any]:
    """Give what is said of any call."""
    upstream = urlsplit(trace.upstream)
    return {
        "http.request.method": trace.method,
        "http.response.status_code": trace.status,
        "server.address": upstream.hostname,
        "server.port": upstream.port,
        "tracemill.trace_id": str(trace.id),
        "tracemill.route": trace.route,
        "tracemill.outcome": trace.outcome.value,
    }


def _generation(trace: Trace) -> dict[str, Any]:
    """Give what is said of a call to a model."""
    parameters, usage = _object(trace.parameters), _object(trace.usage)
    stop = parameters.get("stop", parameters.get("stop_sequences"))
    limits = (parameters.get(name) for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"))
    choices = parameters.get("n")
    return {
        "gen_ai.provider.name": _provider(trace),
        "gen_ai.request.model": trace.requested_model,
        "gen_ai.request.stream": trace.is_streaming or None,
        "gen_ai.request.max_tokens": next((limit for limit in limits if limit is not None), None),
        "gen_ai.request.choice.count": None if choices == 1 else choices,
        "gen_ai.request.stop_sequences": [stop] if isinstance(stop, str) else stop,
        **{f"gen_ai.request.{name}": parameters.get(name) for name in _SAME_NAMED},
        "gen_ai.response.model": trace.served_model,
        "gen_ai.response.id": trace.upstream_id,
        "gen_ai.response.finish_reasons": [reply.finish_reason for reply in trace.replies if reply.finish_reason],
        "gen_ai.response.time_to_first_chunk": _seconds(trace.ttft_ms) if trace.is_streaming else None,
        "gen_ai.usage.input_tokens": trace.prompt_tokens,
        "gen_ai.usage.output_tokens": trace.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": _cached(usage),
        "gen_ai.usage.reasoning.output_tokens": _detail(
            usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
        ),
        "gen_ai.conversation.id": trace.session,
    }


def _provider(trace: Trace) -> str:
    """Tell whose protocol the call speaks; the conventions ask for that, not for who runs the model."""
    if trace.endpoint == "messages":
        return "anthropic"
    host = urlsplit(trace.upstream).hostname or ""
    return "azure.ai.openai" if host.endswith(".openai.azure.com") else "openai"


def _content(trace: Trace) -> dict[str, Any]:
    return {
        "gen_ai.input.messages": input_messages(trace.messages),
        "gen_ai.output.messages": output_messages(trace.replies),
        "error.message": trace.error,
    }


def _cached(usage: Mapping[str, Any]) -> object:
    names = ("prompt_tokens_details", "input_tokens_details")
    cached = _detail(usage, names, "cached_tokens")
    return usage.get("cache_read_input_tokens") if cached is None else cached


def _detail(usage: Mapping[str, Any], names: Iterable[str], detail: str) -> object:
    for name in names:
        details = usage.get(name)
        if isinstance(details, dict) and details.get(detail) is not None:
            return details[detail]
    return None


def _object(text: JsonText | None) -> dict[str, Any]:
    try:
        value = json_text.loads(text) if text else {}
    except JsonTextError:
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Give the attributes that have a value of a kind that OTLP knows."""
    pairs = ((name, _any_value(value)) for name, value in attributes.items())
    return [KeyValue(key=name, value=value) for name, value in pairs if value is not None]


def _any_value(value: object) -> AnyValue | None:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value) if -(2**63) <= value < 2**63 else None
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=_text(value))
        case list() if value:
            values = [_any_value(one) for one in value]
            return AnyValue(array_value=ArrayValue(values=[one for one in values if one is not None]))
    return None


def _text(text: str) -> str:
    """Replace lone surrogates, which protobuf's strings cannot hold."""
    return text.encode("utf-8", "replace").decode()
