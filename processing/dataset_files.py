"""The files of a dataset, from what became of every conversation and example."""

import base64
from collections.abc import Sequence

from processing.baseline import Prediction
from processing.example import Conversation
from processing.inputs import Inputs
from processing.ledger import Kind, State
from processing.output import lines
from processing.rows import ended
from processing.split import Part
from processing.stages import Run
from store import json_text
from store.recorded.message import Json
from store.recorded.message_form import to_openai

PREDICTIONS = "predictions.jsonl"
FILES = (
    "train.jsonl",
    "test.jsonl",
    "unstructured.jsonl",
    PREDICTIONS,
    "dropped.jsonl",
    "failed.jsonl",
    "review.jsonl",
    "rejected.jsonl",
    "lineage.jsonl",
    "report.json",
    "report.md",
    "report.html",
)
"""Every file of a dataset but its manifest."""


def row_files(
    rows: Sequence[tuple[Part, Json]],
    unstructured: Sequence[Conversation],
    predictions: Sequence[Prediction],
    inputs: Inputs,
    run: Run,
) -> dict[str, bytes]:
    """Write every file that holds one JSON object per line.

    Args:
        rows: The rows with their parts, in order.
        unstructured: The conversations beyond the numbers asked for.
        predictions: Of the base model on test.
        inputs: For the person's own test set, and what could not be read.
        run: For how everything else ended.
    """
    return {
        "train.jsonl": lines(line for part, line in rows if part is Part.TRAIN),
        "test.jsonl": _curated(inputs) if inputs.test else lines(line for part, line in rows if part is Part.TEST),
        "unstructured.jsonl": lines(_context(conversation) for conversation in unstructured),
        PREDICTIONS: lines(prediction.as_json() for prediction in predictions),
        **_ended_files(run),
        "rejected.jsonl": lines(_rejected(inputs)),
    }


def _curated(inputs: Inputs) -> bytes:
    return b"".join(line + b"\n" for line in inputs.test.lines) if inputs.test else b""


def _context(conversation: Conversation) -> dict[str, Json]:
    """An unstructured row: the messages as JSON text, so that it can be read again as a trace of its own."""
    messages = [to_openai(message) for message in conversation.messages]
    besides = {"tools": conversation.tools, "response_format": conversation.response_format}
    return {
        "context": json_text.dumps(messages).decode(),
        **{name: value for name, value in besides.items() if value is not None},
    }


def _ended_files(run: Run) -> dict[str, bytes]:
    written: dict[State, list[Json]] = {State.DROPPED: [], State.FAILED: [], State.REVIEW: []}
    for kind, things in ((Kind.CONVERSATION, run.conversations), (Kind.EXAMPLE, run.examples)):
        for name, end in run.ledger.ends(kind):
            if end.state in written:
                line = ended(kind, name, end, things[name])
                written[end.state].append({**line, **run.columns.get(name, {})})
    return {f"{state}.jsonl": lines(found) for state, found in written.items()}


def _rejected(inputs: Inputs) -> list[Json]:
    return [
        {
            "source": one.source,
            "line": one.line,
            "reason": str(one.reason),
            "detail": one.detail,
            **_raw(one.raw),
        }
        for one in inputs.intake.rejected
    ]


def _raw(line: bytes) -> dict[str, Json]:
    """The line as text, or its bytes in base64 when it is none."""
    try:
        return {"raw": line.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(line).decode()}
