"""Traces that were recorded elsewhere, on their way from the journal into the store."""

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from store.change import Change
from store.trace import DeadLetter, Trace
from store.trace_code import TraceCodeError, decode_traces

_log = logging.getLogger("tracemill.ingest")


class Imports(NamedTuple):
    """What some changes of the kind `traces` hold."""

    traces: list[Trace]
    letters: list[DeadLetter]


def read_imports(changes: Iterable[Change], redact: Callable[[Trace], Trace]) -> Imports:
    """Read changes of the kind `traces`; what cannot be read becomes a dead letter."""
    traces: list[Trace] = []
    letters: list[DeadLetter] = []
    for change in changes:
        try:
            found = decode_traces(change.body)
        except TraceCodeError as error:
            _log.error("import %s cannot be read (%s); it is kept as a dead letter", change.id, error)
            letters.append(DeadLetter("unknown_change", str(error), change.body, change.id))
            continue
        for trace in found:
            try:
                traces.append(redact(trace))
            except Exception as error:  # noqa: BLE001 - one trace that nobody foresaw must not stop all behind it
                detail = f"{type(error).__name__} in redaction"
                _log.error("trace %s cannot be imported (%s); it is kept as a dead letter", trace.id, detail)
                letters.append(DeadLetter("derive_failed", detail, b"", trace.id))
    return Imports(traces, letters)
