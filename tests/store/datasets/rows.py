"""Rows to fill datasets with."""

from typing import Any

from store.datasets.row import Part, Row, RowEnd, RowState

KEPT = RowEnd(RowState.KEPT, "output", "train")
DROPPED = RowEnd(RowState.DROPPED, "relevance", "low_relevance", {"relevance": 2})


def content(number: int, answer: str = "yes", **metadata: Any) -> dict[str, Any]:
    return {
        "row_id": f"r_{number:07}",
        "messages": [
            {"role": "user", "content": f"Question {number}?"},
            {"role": "assistant", "content": answer, "weight": 1},
        ],
        "prompt": f"Question {number}?",
        "response": answer,
        "metadata": {"source_trace_id": None, "judge_score": None, "cluster_id": None, "tags": [], **metadata},
    }


def row(
    number: int,
    answer: str = "yes",
    *,
    part: Part | None = Part.TRAIN,
    end: RowEnd = KEPT,
    **metadata: Any,
) -> Row:
    return Row(content(number, answer, **metadata), part, end)
