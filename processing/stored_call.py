"""A stored trace, read into recorded calls by way of its export lines, so that store and file give the same."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from store import json_text
from store.export import ExportFormat, export_lines
from store.feedback import Feedback
from store.feedback_form import FeedbackKind
from store.recorded.call import RecordedCall, recorded_calls
from store.recorded.errors import LineError, RejectReason
from store.recorded.line import load_line
from store.recorded.message import Message, Turn
from store.recorded.message_form import read_messages
from store.recorded.openai_line import read_openai
from store.trace import Trace

_IN_CHAT_FORM = ("chat.completions", "responses", "messages")
"""Endpoints whose traces are conversations; a text completion is none, though its trace has the same shape."""


def read_trace(trace: Trace, feedback: Sequence[Feedback] = ()) -> Iterable[RecordedCall]:
    """Read a trace: one recorded call per reply, or one without a reply when the call got none.

    Of the feedback, the last demonstration that counts for a reply goes with its turn.

    The outcome of a trace that is not whole, although the call completed (its capture was cut, say), is `incomplete`.

    Raises:
        LineError: `not_chat` for endpoints that hold no conversation, or a reason of the line format.
    """
    if trace.endpoint not in _IN_CHAT_FORM:
        raise LineError(RejectReason.NOT_CHAT, f"the trace is of {trace.endpoint or 'another endpoint'}")
    outcome = trace.outcome.value
    if outcome == "completed" and trace.replies and not trace.is_complete:
        outcome = "incomplete"
    calls: list[RecordedCall] = []
    for number, line in enumerate(export_lines(trace, ExportFormat.TRACES)):
        turn = Turn(
            trace_id=str(trace.id),
            model=trace.served_model or trace.requested_model,
            finish_reason=trace.replies[number].finish_reason if trace.replies else None,
            outcome=outcome,
            demonstration=_demonstration(feedback, trace.replies[number].index) if trace.replies else None,
        )
        (call,) = recorded_calls(read_openai(load_line(line)), str(trace.id))
        calls.append(replace(call, turn=turn, created_at=trace.created_at))
    return calls


def _demonstration(feedback: Sequence[Feedback], choice: int) -> Message | None:
    found = None
    for entry in feedback:
        said = entry.given
        is_meant = said.message is None and said.choice in (None, choice)
        if entry.is_current and said.kind is FeedbackKind.DEMONSTRATION and is_meant:
            (found,) = read_messages([json_text.loads(said.value)]).messages
    return found
