"""Traces as text for a person: a table that fits the terminal, and one trace with its messages."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from store import json_text
from store.feedback import Feedback
from store.feedback_form import FeedbackKind
from store.json_text import JsonValue
from store.trace import Outcome, Trace
from store.traces import TraceSummary
from tracemill.fitted_table import Column, fitted_lines
from tracemill.terminal_text import many_lines, one_line

_MODEL_WIDTH = 24


class _TraceColumn(NamedTuple):
    name: str
    cell: Callable[[TraceSummary], str]
    is_number: bool = False


def table_lines(summaries: Sequence[TraceSummary], width: int | None) -> Iterator[str]:
    """Give the lines of a table; the id alone is there at any width.

    Args:
        summaries: The rows.
        width: Of the terminal, in cells; None for no bound.
    """
    columns = [Column(name, [cell(summary) for summary in summaries], is_number) for name, cell, is_number in _COLUMNS]
    return fitted_lines(columns, width)


def trace_lines(trace: Trace, feedback: Sequence[Feedback] = ()) -> Iterator[str]:
    """Give a trace line by line: what the call was, what people think of it, then its messages and replies."""
    yield f"trace     {trace.id}"
    yield f"arrived   {trace.created_at.isoformat()}"
    yield f"call      {one_line(trace.method)} {one_line(trace.path)} to {one_line(trace.upstream)}"
    yield f"outcome   {trace.outcome.value}, status {trace.status or '-'}, {_duration(trace)}"
    yield f"model     {one_line(trace.requested_model or '-')}, served as {one_line(trace.served_model or '-')}"
    yield f"tokens    {_tokens(trace.prompt_tokens, trace.completion_tokens)}"
    labels = {"session": trace.session, "user": trace.user, **trace.tags}
    if any(labels.values()):
        yield "labels    " + ", ".join(f"{one_line(name)}={one_line(value)}" for name, value in labels.items() if value)
    if trace.flags:
        yield f"flags     {', '.join(sorted(trace.flags))}"
    if trace.error is not None:
        yield f"error     {one_line(trace.error, 2000)}"
    for entry in feedback:
        if entry.is_current:
            yield f"feedback  {feedback_line(entry)}"
    for message in trace.messages:
        yield from _message_lines(json_text.loads(message))
    for reply in trace.replies:
        finish_reason = one_line(reply.finish_reason or "no finish reason")
        yield from _message_lines(json_text.loads(reply.message), f" (reply {reply.index}, {finish_reason})")


def feedback_line(entry: Feedback) -> str:
    """Give one entry of feedback as one line: the name, what was said, on what, by whom and when."""
    given = entry.given
    value = json_text.loads(given.value)
    if given.kind is FeedbackKind.DEMONSTRATION:
        value = value.get("content") if isinstance(value.get("content"), str) else given.value.decode()
    said = value if isinstance(value, str) else given.value.decode()
    place = "" if given.message is None else f" on message {given.message}"
    place += "" if given.choice is None else f" on reply {given.choice}"
    return (
        f"{one_line(given.name)}: {one_line(said, 200)}{place} ({one_line(given.by or '?')}, {entry.at:%Y-%m-%d %H:%M})"
    )


def _message_lines(message: JsonValue, note: str = "") -> Iterator[str]:
    yield ""
    if not isinstance(message, dict):
        yield f"── no message{note}"
        yield many_lines(json_text.dumps(message).decode())
        return
    yield f"── {one_line(str(message.get('role')))}{note}"
    for name, value in message.items():
        if name == "role" or value is None:
            continue
        text = value if isinstance(value, str) else json_text.dumps(value).decode()
        yield many_lines(text) if name == "content" else f"{one_line(name)}: {many_lines(text)}"


def _duration(trace: Trace) -> str:
    return "no duration" if trace.duration_ms is None else f"{trace.duration_ms:.0f} ms"


def _tokens(prompt: int | None, completion: int | None) -> str:
    if prompt is None and completion is None:
        return "-"
    return f"{'?' if prompt is None else prompt}+{'?' if completion is None else completion}"


def _outcome(summary: TraceSummary) -> str:
    """Name how the call ended, and a completed one that is no whole chat completion as that."""
    is_whole = summary.is_complete or summary.outcome is not Outcome.COMPLETED
    return summary.outcome.value if is_whole else "incomplete"


def _cost(dollars: float | None) -> str:
    return "-" if dollars is None else f"{dollars:.6f}"


def _milliseconds(duration_ms: float | None) -> str:
    return "-" if duration_ms is None else f"{duration_ms:.0f}"


# What one looks for first stands first, since what does not fit is left out from the right.
_COLUMNS = (
    _TraceColumn("id", lambda summary: str(summary.id)),
    _TraceColumn("arrived (UTC)", lambda summary: f"{summary.created_at:%Y-%m-%d %H:%M:%S}"),
    _TraceColumn("outcome", _outcome),
    _TraceColumn("model", lambda summary: one_line(summary.requested_model or "-", _MODEL_WIDTH)),
    _TraceColumn("status", lambda summary: str(summary.status or "-"), is_number=True),
    _TraceColumn("messages", lambda summary: str(summary.message_count), is_number=True),
    _TraceColumn("tokens", lambda summary: _tokens(summary.prompt_tokens, summary.completion_tokens), is_number=True),
    _TraceColumn("cost $", lambda summary: _cost(summary.cost_usd), is_number=True),
    _TraceColumn("ms", lambda summary: _milliseconds(summary.duration_ms), is_number=True),
)
