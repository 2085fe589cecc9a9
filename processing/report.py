"""The report of a run: everything that was counted, as JSON; `report_page` and `report_html` write it for people.

Nothing in it depends on when or how often the run was started: the same inputs and answers give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from processing.baseline import Performance
from processing.candidates import Task
from processing.convert import Converted
from processing.inputs import Inputs
from processing.ledger import Kind, Ledger
from processing.relabel import Relabelled
from processing.report_composition import agreement_counts, calls_by_model, committee_counts, composition
from processing.split import Part, Split
from processing.teachers import Teachers
from store.recorded.message import Json


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
    rows: Sequence[tuple[Part, Mapping[str, Json]]],
    counts: Mapping[str, int],
    performances: Mapping[str, Performance | None],
    sample: Mapping[str, Json],
    examples: Mapping[str, Json],
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
        rows: The rows with their parts.
        counts: File name to rows written.
        performances: `test` and `unfiltered_sample` to the base model's scores.
        sample: How the unfiltered sample was made.
        examples: Right and wrong recorded answers, from `report_examples`.
        teachers: For the bill.
        warnings: What a person should know before using the dataset.
    """
    test = performances["test"]
    unfiltered = performances["unfiltered_sample"]
    return {
        "task": task.config.base.task,
        "rows": dict(counts),
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
        "composition": composition(rows, inputs, task),
        "relabel": _relabel_counts(relabelled),
        "agreement": agreement_counts(relabelled),
        "committee": committee_counts(rows),
        "examples": dict(examples),
        "calls_by_model": calls_by_model(teachers),
        "calls": {purpose: asdict(bill) for purpose, bill in teachers.bill().items()},
        "warnings": list(warnings),
        "not_used": task.config.ineffective,
    }


def _relabel_counts(relabelled: Sequence[Relabelled]) -> dict[str, Json]:
    methods: dict[str, int] = {}
    for one in relabelled:
        if one.method is not None:
            methods[str(one.method)] = methods.get(str(one.method), 0) + 1
    agreements = [one.agreement for one in relabelled if one.agreement is not None]
    return {
        "methods": dict(sorted(methods.items())),
        "arbitrated": sum(one.is_arbitrated for one in relabelled),
        "reliability": dict(sorted({name: share for one in relabelled for name, share in one.right.items()}.items())),
        "changed": sum(one.is_changed for one in relabelled),
        "cut_after_changed_call": sum(one.counterfactual_after is not None for one in relabelled),
        "mean_agreement": round(sum(agreements) / len(agreements), 6) if agreements else None,
    }
