"""Fewer examples than asked for: the run fails, and says where the others went."""

from processing.errors import TooFewExamplesError
from processing.inputs import Inputs
from processing.ledger import Kind, State
from processing.stages import Run


def require_enough(kept: int, inputs: Inputs, run: Run) -> None:
    """Fail the run when fewer examples are kept, or can still be kept, than `min_generated_examples` asks for.

    Raises:
        TooFewExamplesError: There are too few; tells what was read, which stage took how many, and what teachers said.
        TeacherError: There are too few because no teacher answered anything.
    """
    wanted = inputs.config.trace_processing.min_generated_examples
    if kept >= wanted:
        return
    run.teachers.require_answers()
    told = [
        f"{kept} examples were kept; trace_processing.min_generated_examples asks for {wanted}.",
        _read(inputs),
        *_taken(run),
        *run.teachers.problems(),
        "Lower the thresholds, bring more traces, or lower min_generated_examples.",
    ]
    raise TooFewExamplesError(" ".join(told))


def _read(inputs: Inputs) -> str:
    intake = inputs.intake
    found = f"Read: {intake.records} records, {len(intake.conversations)} conversations"
    besides = [
        *([f"{intake.absorbed} beginnings of others"] if intake.absorbed else []),
        *([f"{intake.duplicates} duplicates"] if intake.duplicates else []),
        *(f"{count} rejected as {reason}" for reason, count in intake.reasons.items()),
    ]
    told = f"{found} ({', '.join(besides)})." if besides else f"{found}."
    if intake.rejected and not intake.conversations:
        first = intake.rejected[0]
        where = first.source if first.line is None else f"{first.source}:{first.line}"
        told += (
            f" The first: {where}: {first.detail}. trace_processing.observation_format is "
            f'"{inputs.config.trace_processing.observation_format}": is that what the file holds?'
        )
    return told


def _taken(run: Run) -> list[str]:
    """One sentence for each stage that took something."""
    told = []
    for count in run.ledger.stages:
        taken = [
            f"{reason} {number}"
            for state, reasons in count.ended.items()
            if state != State.KEPT
            for reason, number in reasons.items()
        ]
        if taken:
            lost = sum(sum(reasons.values()) for state, reasons in count.ended.items() if state != State.KEPT)
            told.append(f"{count.stage} took {lost} of {count.entered} {count.kind}s: {', '.join(taken)}.")
    problems = (end.detail.get("problem") for kind in Kind for _, end in run.ledger.ends(kind))
    first = next((problem for problem in problems if problem), None)
    return told if first is None else [*told, f"The first that failed: {first}."]
