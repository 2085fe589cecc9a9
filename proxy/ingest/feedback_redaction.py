"""Redacting feedback: what people write of a call can hold what was taken out of the call."""

import logging
from dataclasses import replace

from proxy.redaction.redactor import Redactor
from store.change import Change, ChangeKind
from store.feedback_form import FeedbackError, FeedbackKind, read_request, write_request

_log = logging.getLogger("tracemill.ingest")
_TEXTS = (FeedbackKind.COMMENT, FeedbackKind.DEMONSTRATION)
_NOTHING = b"{}"
"""No feedback: its change stands in the audit log as one that could not be done."""


def redact_feedback(change: Change, redactor: Redactor) -> Change:
    """Redact a change that gives feedback: its text or message, and who gives it; any other change stays as it is.

    What cannot be redacted is not given, lest it be stored as it came.
    """
    if change.kind is not ChangeKind.FEEDBACK:
        return change
    try:
        trace_id, given = read_request(change.body)
        if given.kind in _TEXTS:
            given = replace(given, value=redactor.redact_json(given.value))
        if given.by is not None:
            given = replace(given, by=redactor.redact_text(given.by))
        return replace(change, body=write_request(trace_id, given))
    except FeedbackError:
        return replace(change, body=_NOTHING)
    except Exception as error:  # noqa: BLE001 - one entry that nobody foresaw must not stop all that come after it
        _log.error("feedback %s could not be redacted (%s); it is not given", change.id, type(error).__name__)
        return replace(change, body=_NOTHING)
