"""What the demo reads out of the folder that `tracemill process` wrote."""

import json
from pathlib import Path
from typing import Any, NamedTuple

NAMES = ("train.jsonl", "test.jsonl", "unstructured.jsonl", "predictions.jsonl", "report.html", "report.json")

_SHORT_CHARACTERS = 100


class ChangedRow(NamedTuple):
    """A row whose label the committee changed.

    Attributes:
        asked: The customer's last message.
        recorded: What the base model answered.
        label: What stands in its place.
    """

    asked: str
    recorded: str
    label: str


class Evaluations(NamedTuple):
    """How models did on the same rows.

    Attributes:
        version: The label of the version.
        rows: How many rows were asked.
        metric: Name of the metric.
        scores: Model to mean score.
    """

    version: str
    rows: int
    metric: str
    scores: dict[str, float]


def free_folder(data_dir: Path) -> Path:
    """Name a folder for a dataset that no earlier run of the demo has used."""
    number = 1
    folder = data_dir / "dataset"
    while folder.exists():
        number += 1
        folder = data_dir / f"dataset-{number}"
    return folder


def read_report(folder: Path) -> dict[str, Any]:
    """Read the run's report."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def changed_rows(folder: Path, *, limit: int) -> list[ChangedRow]:
    """Read rows that relabelling changed, each change once: short ones first, tool calls and texts in turn."""
    found: dict[tuple[str, str], ChangedRow] = {}
    for name in ("train.jsonl", "test.jsonl"):
        for line in (folder / name).read_text().split("\n"):
            row: dict[str, Any] = json.loads(line or "{}")
            if row and row["metadata"]["is_changed"]:
                shown = ChangedRow(row["prompt"] or "", row["metadata"]["original_response"] or "", row["response"])
                found.setdefault((shown.recorded, shown.label), shown)
    short_first = sorted(found.values(), key=lambda row: max(len(row.recorded), len(row.label)) > _SHORT_CHARACTERS)
    calls = [row for row in short_first if row.label.startswith(("{", "["))]
    texts = [row for row in short_first if not row.label.startswith(("{", "["))]
    mixed = [row for pair in zip(calls, texts, strict=False) for row in pair]
    return (mixed + calls[len(texts) :] + texts[len(calls) :])[:limit]


def written(folder: Path) -> dict[str, Path]:
    """Give the files a run has to leave, by name; one that is missing is left out."""
    return {name: folder / name for name in NAMES if (folder / name).is_file()}


def read_evaluations(path: Path) -> Evaluations:
    """Read what `tracemill evaluate --json` told, by the metric that takes texts and calls of tools alike."""
    # What there is to warn of comes before it.
    found = json.loads(path.read_text().splitlines()[-1])["evaluations"]
    metric = "llm-as-a-judge"
    scores = {one["model"]: one["metrics"]["scores"][metric]["mean"] for one in found}
    return Evaluations(found[0]["reference"], found[0]["counts"]["rows"], metric, scores)
