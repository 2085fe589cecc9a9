"""The report of a run: everything that was counted, as JSON and as one page for people.

Nothing in it depends on when or how often the run was started: the same inputs and answers give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from processing.baseline import Performance
from processing.candidates import Task
from processing.convert import Converted
from processing.curated import Curated
from processing.filter import length_of
from processing.inputs import Inputs
from processing.ledger import Kind, Ledger
from processing.relabel import Relabelled
from processing.split import Split
from processing.teachers import Teachers
from store.recorded.message import Json

FEW_ROWS = 200
_CHANGED_SHOWN = 5
_CELL_CHARS = 160


def intake_counts(inputs: Inputs) -> dict[str, Json]:
    """What came in: records == conversations + absorbed + duplicates + rejected."""
    intake = inputs.intake
    return {
        "records": intake.records,
        "conversations": len(intake.conversations),
        "absorbed": intake.absorbed,
        "duplicates": intake.duplicates,
        "rejected": len(intake.rejected),
        "rejected_reasons": intake.reasons,
    }


def funnel(ledger: Ledger) -> list[dict[str, Json]]:
    """One line per stage: what went in, what went on, and how the rest ended; every line adds up."""
    return [
        {
            "stage": str(count.stage),
            "of": f"{count.kind}s",
            "in": count.entered,
            "out": count.went_on,
            "ended": count.ended,
        }
        for count in ledger.stages
    ]


def report(
    inputs: Inputs,
    task: Task,
    ledger: Ledger,
    converted: Converted,
    split: Split,
    relabelled: Sequence[Relabelled],
    rows: Mapping[str, int],
    performances: Mapping[str, Performance | None],
    sample: Mapping[str, Json],
    teachers: Teachers,
    warnings: Sequence[str],
) -> dict[str, Json]:
    """Put the report together.

    Args:
        inputs: What came in.
        task: The task.
        ledger: The ends, already closed.
        converted: What converting skipped.
        split: The parts and what they share.
        relabelled: Every example that was relabelled.
        rows: File name to rows written.
        performances: `test` and `unfiltered_sample` to the base model's scores.
        sample: How the unfiltered sample was made.
        teachers: For the bill.
        warnings: What a person should know before using the dataset.
    """
    test = performances["test"]
    unfiltered = performances["unfiltered_sample"]
    return {
        "task": task.config.base.task,
        "rows": dict(rows),
        "base_model_performance": None if test is None else dict(test.scores),
        "base_model": {
            "test": None if test is None else test.as_json(),
            "unfiltered_sample": {**sample, **({"performance": None} if unfiltered is None else unfiltered.as_json())},
        },
        "intake": intake_counts(inputs),
        "funnel": funnel(ledger),
        "totals": {f"{kind}s": ledger.totals(kind) for kind in Kind},
        "split": {
            "conversations": split.conversations,
            "leakage": asdict(split.leakage),
            "left_train_for_test": len(split.removed),
            "moved_group": split.moved,
        },
        "converted": {
            "skipped_assistant_messages": converted.reasons,
            "trailing_messages": converted.trailing_messages,
        },
        "relabel": _relabel_counts(relabelled),
        "calls": {purpose: asdict(bill) for purpose, bill in teachers.bill().items()},
        "warnings": list(warnings),
        "not_used": task.config.ineffective,
    }


def warnings_of(rows: Mapping[str, int], split: Split, task: Task, curated: Curated | None) -> list[str]:
    """Say what a person should know before using the dataset."""
    found: list[str] = []
    train = rows["train.jsonl"]
    if train < FEW_ROWS:
        found.append(f"train has {train} rows; below {FEW_ROWS} a student tends to overfit (500 to 2000 are good).")
    if not rows["test.jsonl"]:
        found.append("test is empty, so nothing can be measured: more conversations are needed.")
    if not split.leakage.is_free:
        found.append(
            f"train and test share {split.leakage.exact} equal and {split.leakage.near} nearly equal prompts "
            f"and {split.leakage.groups} groups: scores on test will look better than they are."
        )
    if rows["failed.jsonl"]:
        found.append(f"{rows['failed.jsonl']} things failed: failed.jsonl tells why; run again to try them again.")
    wanted = task.config.trace_processing
    if not wanted.relevance_filtering:
        found.append("relevance filtering is off: failures and conversations about other things may be in train.")
    if not wanted.relabel:
        found.append("relabel is off: labels are the recorded replies, which the base model cannot be scored against.")
    if curated is not None:
        found.append("test is your own file and holds no recorded answers of the base model: it is not scored on test.")
        limit = task.config.synthgen.validation_max_total_length
        long = sum(length_of(example.messages) > limit for example in curated.examples)
        if long:
            found.append(f"{long} rows of {curated.name} are longer than validation_max_total_length ({limit}).")
    if task.config.ineffective:
        found.append(f"keys without effect here: {', '.join(task.config.ineffective)}.")
    return found


def page(found: Mapping[str, Json], changed: Sequence[Mapping[str, Json]]) -> str:
    """Write the report as one Markdown page.

    Args:
        found: From `report`.
        changed: Rows whose label says something else than the recorded answer.
    """
    parts = [
        f"# Dataset report: {found['task']}",
        _table("Files", ["file", "rows"], [[name, rows] for name, rows in found["rows"].items()]),
        _table("Came in", ["what", "count"], [[k, v] for k, v in found["intake"].items() if k != "rejected_reasons"]),
        _table(
            "Where everything went",
            ["stage", "of", "in", "out", "ended"],
            [[line["stage"], line["of"], line["in"], line["out"], _ended(line["ended"])] for line in found["funnel"]],
        ),
        _performance(found["base_model"]),
        _table(
            "Teacher calls behind this dataset",
            ["step", "calls", "prompt tokens", "completion tokens", "cost"],
            [
                [
                    step,
                    b["calls"],
                    b["prompt_tokens"],
                    b["completion_tokens"],
                    "unknown" if b["cost"] is None else b["cost"],
                ]
                for step, b in found["calls"].items()
            ],
        ),
        "## Warnings\n\n" + ("\n".join(f"- {warning}" for warning in found["warnings"]) or "None."),
        _table(
            f"{min(len(changed), _CHANGED_SHOWN)} of {len(changed)} changed rows",
            ["asked", "recorded", "label", "agreement"],
            [
                [row["prompt"], row["metadata"]["original_response"], row["response"], row["metadata"]["agreement"]]
                for row in changed[:_CHANGED_SHOWN]
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _performance(base_model: Mapping[str, Json]) -> str:
    lines = []
    for name, title in (("test", "test"), ("unfiltered_sample", "unfiltered sample")):
        found = base_model[name]
        for metric, one in ((found or {}).get("intervals") or {}).items():
            interval = "" if one["low"] is None else f"{one['low']} to {one['high']}"
            lines.append([title, metric, one["mean"], interval, one["rows"], one["missing"]])
    title = "Base model performance"
    if not lines:
        return f"## {title}\n\nNot computed."
    return _table(title, ["on", "metric", "mean", "95 % interval", "answers", "not computed"], lines)


def _relabel_counts(relabelled: Sequence[Relabelled]) -> dict[str, Json]:
    methods: dict[str, int] = {}
    for one in relabelled:
        if one.method is not None:
            methods[str(one.method)] = methods.get(str(one.method), 0) + 1
    agreements = [one.agreement for one in relabelled if one.agreement is not None]
    return {
        "methods": dict(sorted(methods.items())),
        "changed": sum(one.is_changed for one in relabelled),
        "cut_after_changed_call": sum(one.counterfactual_after is not None for one in relabelled),
        "mean_agreement": round(sum(agreements) / len(agreements), 6) if agreements else None,
    }


def _ended(ended: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(f"{state}: {reason} {n}" for state, reasons in ended.items() for reason, n in reasons.items())


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[Json]]) -> str:
    if not lines:
        return f"## {title}\n\nNone."
    rows = [head, ["---"] * len(head), *lines]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)


def _cell(value: Json) -> str:
    text = " ".join(str("" if value is None else value).split()).replace("|", "\\|")
    return text if len(text) <= _CELL_CHARS else f"{text[:_CELL_CHARS]}…"
