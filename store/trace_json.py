"""Traces, summaries and counts as JSON: what `tracemill traces` and the admin side give.

The texts of the client and the upstream are put in as they are stored; everything else is written by us. Fields that
are None are there as null, so that a reader can tell "not reported" from "not a field".
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from store import json_text
from store.feedback import Feedback, feedback_list_json
from store.json_text import JsonValue
from store.trace import JsonText, Reply, Trace
from store.trace_summary import Stats, TracePage, TraceSummary

_NULL = b"null"


def trace_json(trace: Trace, feedback: Sequence[Feedback] = ()) -> JsonText:
    """Give every field of a trace, in the order of `store.trace.Trace`, and its feedback; times are ISO 8601 in UTC."""
    plain = json_text.dumps
    texts: dict[str, JsonText] = {
        "id": plain(str(trace.id)),
        "created_at": plain(trace.created_at.isoformat()),
        "endpoint": plain(trace.endpoint),
        "method": plain(trace.method),
        "path": plain(trace.path),
        "route": plain(trace.route),
        "upstream": plain(trace.upstream),
        "status": plain(trace.status),
        "outcome": plain(trace.outcome.value),
        "is_complete": plain(trace.is_complete),
        "flags": plain(sorted(trace.flags)),
        "is_streaming": plain(trace.is_streaming),
        "requested_model": plain(trace.requested_model),
        "served_model": plain(trace.served_model),
        "messages": b"[" + b",".join(trace.messages) + b"]",
        "tools": trace.tools or _NULL,
        "response_format": trace.response_format or _NULL,
        "parameters": trace.parameters,
        "replies": b"[" + b",".join(_reply_json(reply) for reply in trace.replies) + b"]",
        "usage": trace.usage or _NULL,
        "prompt_tokens": plain(trace.prompt_tokens),
        "completion_tokens": plain(trace.completion_tokens),
        "ttft_ms": plain(trace.ttft_ms),
        "duration_ms": plain(trace.duration_ms),
        "upstream_id": plain(trace.upstream_id),
        "request_id": plain(trace.request_id),
        "system_fingerprint": plain(trace.system_fingerprint),
        "session": plain(trace.session),
        "user": plain(trace.user),
        "tags": plain(dict(trace.tags)),
        "metadata": trace.metadata or _NULL,
        "key_fingerprint": plain(trace.key_fingerprint),
        "error": plain(trace.error),
        "request_bytes": plain(trace.request_bytes),
        "response_bytes": plain(trace.response_bytes),
        "feedback": feedback_list_json(feedback),
    }
    return _object(texts)


def _reply_json(reply: Reply) -> JsonText:
    return _object(
        {
            "index": json_text.dumps(reply.index),
            "message": reply.message,
            "finish_reason": json_text.dumps(reply.finish_reason),
            "logprobs": reply.logprobs or _NULL,
        }
    )


def _object(texts: dict[str, JsonText]) -> JsonText:
    return b"{" + b",".join(json_text.dumps(name) + b":" + text for name, text in texts.items()) + b"}"


def summary_json(summary: TraceSummary) -> JsonText:
    """Give every field of a summary, in the order of `store.trace_summary.TraceSummary`."""
    values = {field.name: getattr(summary, field.name) for field in fields(summary)}
    return json_text.dumps({name: _plain(value) for name, value in values.items()})


def page_json(page: TracePage) -> JsonText:
    """Give a page: its summaries, where it goes on, and what a search has to tell."""
    return _object(
        {
            "data": b"[" + b",".join(summary_json(summary) for summary in page.summaries) + b"]",
            "next_cursor": json_text.dumps(page.next_cursor),
            "search_behind": json_text.dumps(page.search_behind),
            "snippets": json_text.dumps({str(id_): text for id_, text in page.snippets.items()}),
        }
    )


def stats_json(stats: Stats, **others: int) -> JsonText:
    """Give every count of the store, and others beside them; calls that named no model stand under ""."""
    values = {field.name: getattr(stats, field.name) for field in fields(stats)}
    values["by_model"] = {name or "": count for name, count in stats.by_model.items()}
    return json_text.dumps({name: _plain(value) for name, value in {**values, **others}.items()})


def _plain(value: JsonValue | UUID | datetime) -> JsonValue:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else value
