"""The report of a run: everything that was counted, as JSON; `report_page` and `report_html` write it for people.

Nothing in it depends on when or how often the run was started: the same inputs and answers give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

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


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run came to, before it is told.

    Attributes:
        inputs: What came in.
        task: The task.
        ledger: The ends, already closed.
        converted: What converting skipped.
        split: The parts and what they share.
        relabelled: Every example that was relabelled.
        rows: The rows with their parts.
        counts: File name to rows written.
        test: The base model's scores on test; None where it was not scored.
        unfiltered: Its scores on the unfiltered sample; None as above.
        sample: How that sample was made.
        examples: Right and wrong recorded answers, from `report_examples`.
        calibration: How far the judge agrees with people; None where nobody was asked.
        teachers: For the bill.
        warnings: What a person should know before using the dataset.
    """

    inputs: Inputs
    task: Task
    ledger: Ledger
    converted: Converted
    split: Split
    relabelled: Sequence[Relabelled]
    rows: Sequence[tuple[Part, Mapping[str, Json]]]
    counts: Mapping[str, int]
    test: Performance | None
    unfiltered: Performance | None
    sample: Mapping[str, Json]
    examples: Mapping[str, Json]
    calibration: Mapping[str, Json] | None
    teachers: Teachers
    warnings: Sequence[str]


def report(found: Findings) -> dict[str, Json]:
    """Put the report together."""
    return {
        "task": found.task.config.base.task,
        "rows": dict(found.counts),
        "base_model_performance": None if found.test is None else dict(found.test.scores),
        "base_model": _base_model(found),
        "intake": intake_counts(found.inputs),
        "funnel": funnel(found.ledger),
        "totals": {f"{kind}s": found.ledger.totals(kind) for kind in Kind},
        "split": _split(found.split),
        "converted": {
            "skipped_assistant_messages": found.converted.reasons,
            "trailing_messages": found.converted.trailing_messages,
        },
        "composition": composition(found.rows, found.inputs, found.task),
        "relabel": _relabel_counts(found.relabelled),
        "agreement": agreement_counts(found.relabelled),
        "committee": committee_counts(found.rows),
        "examples": dict(found.examples),
        "calls_by_model": calls_by_model(found.teachers),
        "calls": {purpose: asdict(bill) for purpose, bill in found.teachers.bill().items()},
        "warnings": list(found.warnings),
        "not_used": found.task.config.ineffective,
        "judge_calibration": found.calibration,
    }


def _base_model(found: Findings) -> dict[str, Json]:
    unfiltered = {"performance": None} if found.unfiltered is None else found.unfiltered.as_json()
    return {
        "test": None if found.test is None else found.test.as_json(),
        "unfiltered_sample": {**found.sample, **unfiltered},
    }


def _split(split: Split) -> dict[str, Json]:
    return {
        "conversations": split.conversations,
        "leakage": asdict(split.leakage),
        "left_train_for_test": len(split.removed),
        "moved_group": split.moved,
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
