"""Targets that hold the whole row: our own rows, tables of them, and OpenTracy's plain row."""

from collections.abc import Mapping
from typing import Any

from processing.exports.chat import plain_text
from processing.exports.converted import Converted
from processing.exports.reason import NotCarried
from processing.exports.row import leading_system, read_row
from processing.metrics import answer_text
from store.recorded.message import Json


def convert(content: Json) -> Converted:
    """Write the row as it is."""
    return Converted((dict(content),))


def convert_plain(content: Json) -> Converted:
    """Write OpenTracy's row for each answer that is learned: the words asked last, and what was said.

    The ids of several rows that come of one are told apart by the place of the answer.
    """
    row = read_row(content)
    lines, lost = [], set[NotCarried]()
    for target in row.targets:
        before, answer = row.messages[:target], row.messages[target]
        for message in before:
            plain_text(message)
        asked = [message for message in before if message.role == "user"]
        lost |= {NotCarried.HISTORY} if len(before) - leading_system(before) > 1 else set()
        lost |= {NotCarried.SYSTEM} if leading_system(before) else set()
        plain_text(answer)
        lines.append(
            {
                "row_id": row.id if len(row.targets) == 1 else f"{row.id}-{target}",
                "prompt": plain_text(asked[-1]) if asked else None,
                "response": answer_text(answer) or answer.refusal or "",
                "metadata": _metadata(row.metadata, row.targets.index(target)),
            }
        )
    lost |= {NotCarried.TOOLS} if row.tools is not None else set()
    lost |= {NotCarried.RESPONSE_FORMAT} if content.get("response_format") is not None else set()
    lost |= {NotCarried.COLUMNS} if row.columns else set()
    return Converted(tuple(lines), frozenset(lost))


def _metadata(metadata: Mapping[str, Any], index: int) -> dict[str, Json]:
    traces = metadata.get("source_trace_ids")
    trace = traces[index] if isinstance(traces, list) and index < len(traces) else metadata.get("source_trace_id")
    teachers = metadata.get("teacher_models")
    teacher = metadata.get("teacher_model")
    if teacher is None and isinstance(teachers, list) and teachers:
        teacher = ", ".join(map(str, teachers))
    tags = metadata.get("tags")
    return {
        "source_trace_id": trace,
        "teacher_model": teacher,
        "judge_score": metadata.get("judge_score"),
        "cluster_id": metadata.get("cluster_id"),
        "tags": tags if isinstance(tags, list) else [],
    }
