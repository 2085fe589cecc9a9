"""OpenTelemetry records as files hold them: OTLP's JSON lines, spans as SDKs print them, or bare attributes.

A line of the collector's file exporter holds many spans or log records; each of them is one record here. Attributes
come as OTLP's list of `{key, value: {stringValue: …}}` or as a plain object, times as nanoseconds or as ISO 8601.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from store.recorded.message import Json
from store.recorded.source_value import first_text, first_value, read_time

_GROUPS: Final = (
    ("resourceSpans", ("scopeSpans", "instrumentationLibrarySpans"), "spans"),
    ("resource_spans", ("scope_spans",), "spans"),
    ("resourceLogs", ("scopeLogs",), "logRecords"),
    ("resource_logs", ("scope_logs",), "log_records"),
)
_ERROR_CODES: Final = (2, "2", "STATUS_CODE_ERROR", "ERROR", "error")
_SCALARS: Final = ("stringValue", "boolValue", "doubleValue", "bytesValue")
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_MAX_NESTING: Final = 64


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """One event of a span.

    Attributes:
        attributes: The event's attributes, and under "" its body.
    """

    name: str
    attributes: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """A span, a log record or a bare set of attributes.

    Attributes:
        is_error: Whether its status says so.
    """

    attributes: Mapping[str, Json]
    events: tuple[SpanEvent, ...] = ()
    name: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    is_error: bool = False
    status_message: str | None = None


def is_span(value: Mapping[str, Json]) -> bool:
    """Whether a line looks like OpenTelemetry's."""
    if any(name in value for name, _, _ in _GROUPS) or any(name.startswith("gen_ai.") for name in value):
        return True
    has_span_id = any(name in value for name in ("spanId", "span_id", "context"))
    if "attributes" not in value:
        return False
    is_named = any(event.name.startswith("gen_ai.") for event in _events(value.get("events")))
    return has_span_id or is_named or _has_genai(read_attributes(value["attributes"]))


def spans_of(value: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """Give the spans or log records of a line: the line itself, or all that an OTLP request holds."""
    for name, scopes, items in _GROUPS:
        if name in value:
            yield from _grouped(value[name], scopes, items)
            return
    yield value


def read_span(value: Mapping[str, Json]) -> SourceSpan:
    """Read one span, log record or bare set of attributes; whatever cannot be read is missing."""
    given = value.get("attributes")
    if given is None:
        attributes: Mapping[str, Json] = {name: item for name, item in value.items() if name.startswith("gen_ai.")}
    else:
        attributes = read_attributes(given)
    context = value.get("context")
    ids = context if isinstance(context, dict) else value
    status = value.get("status")
    status = status if isinstance(status, dict) else {"code": status}
    started = first_value(value, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime", "timeUnixNano")
    ended = first_value(value, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
    return SourceSpan(
        attributes={**attributes, **_body(value.get("body"))},
        events=tuple(_events(value.get("events"))),
        name=first_text(value, "name", "eventName", "event_name"),
        trace_id=first_text(ids, "traceId", "trace_id"),
        span_id=first_text(ids, "spanId", "span_id"),
        started_at=read_time(started),
        ended_at=read_time(ended),
        is_error=first_value(status, "code", "status_code", "statusCode") in _ERROR_CODES,
        status_message=first_text(status, "message", "description"),
    )


def read_attributes(given: Json) -> dict[str, Json]:
    """Read attributes in either form; empty when they have neither."""
    if isinstance(given, dict):
        return given
    if not isinstance(given, list):
        return {}
    return {
        item["key"]: _any_value(item.get("value"), 0)
        for item in given
        if isinstance(item, dict) and isinstance(item.get("key"), str)
    }


def _has_genai(attributes: Mapping[str, Json]) -> bool:
    return any(name.startswith("gen_ai.") for name in attributes)


def _grouped(groups: Json, scopes: tuple[str, ...], items: str) -> Iterator[Mapping[str, Json]]:
    for group in _objects(groups):
        for scope_name in scopes:
            for scope in _objects(group.get(scope_name)):
                yield from _objects(scope.get(items))


def _objects(value: Json) -> Iterator[Mapping[str, Json]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _events(events: Json) -> Iterator[SpanEvent]:
    for event in _objects(events):
        name = event.get("name")
        if isinstance(name, str):
            body = event.get("body")
            yield SpanEvent(name, {**read_attributes(event.get("attributes")), **({} if body is None else {"": body})})


def _body(body: Json) -> Mapping[str, Json]:
    """Give what the body of a log record holds, where newer conventions put what others have as attributes."""
    value = _any_value(body, 0) if isinstance(body, dict) and len(body) == 1 else body
    return value if isinstance(value, dict) else {}


def _any_value(value: Json, nesting: int) -> Json:
    """Read OTLP's AnyValue; anything else is taken as it stands."""
    if not isinstance(value, dict) or nesting > _MAX_NESTING:
        return value
    if "arrayValue" in value:
        return [_any_value(item, nesting + 1) for item in _items(value["arrayValue"])]
    if "kvlistValue" in value:
        pairs = (item for item in _items(value["kvlistValue"]) if isinstance(item, dict))
        named = (item for item in pairs if isinstance(item.get("key"), str))
        return {item["key"]: _any_value(item.get("value"), nesting + 1) for item in named}
    if "intValue" in value:
        number = value["intValue"]
        return int(number) if isinstance(number, str) and _INTEGER.fullmatch(number) else number
    return next((value[name] for name in _SCALARS if name in value), None)


def _items(value: Json) -> list[Json]:
    inner = value.get("values") if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else []
