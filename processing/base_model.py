"""Scoring the base model: on test, and on conversations drawn before any filter kept the easy ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from processing.baseline import Prediction, predict
from processing.convert import convert
from processing.example import Conversation, Example
from processing.inputs import Inputs
from processing.relabel import Relabelled
from processing.report_examples import ScoredSet
from processing.stages import Run, ask_committee, draw_sample
from processing.trace_kind import Step
from store.recorded.message import Json


class Sample(NamedTuple):
    """The unfiltered sample: how it was made, and how the base model did on it."""

    made: dict[str, Json]
    scored: ScoredSet


async def score_test(recorded: Sequence[Example], relabelled: Sequence[Relabelled], run: Run) -> ScoredSet:
    """Score the base model on the examples of test, as far as they have a label and the configuration asks for it."""
    wanted = run.task.config.trace_processing
    found = {one.id: after for one, after in zip(recorded, relabelled, strict=True)}
    if not (wanted.evaluate_original_model and wanted.relabel):
        return ScoredSet("test", [], found)
    return ScoredSet("test", await _predict(recorded, relabelled, run, stage="baseline"), found)


async def score_sample(conversations: Sequence[Conversation], run: Run) -> Sample:
    """Score the base model on conversations drawn before any filter, against references relabelled like all others."""
    wanted = run.task.config.trace_processing
    size = wanted.num_traces_as_unfiltered_sample
    if not (wanted.evaluate_original_model and wanted.relabel and size):
        made: dict[str, Json] = {"conversations_drawn": 0, "answers_without_reference": 0}
        return Sample({**made, "skipped_assistant_messages": {}}, ScoredSet("unfiltered_sample", [], {}))
    drawn = draw_sample(conversations, size, run.task.config.seed)
    bare = wanted.remove_system_prompt_from_traces
    converted = convert(drawn, single_turn=run.task.config.is_single_turn, remove_system_prompt=bare)
    relabelled = await ask_committee(converted.examples, run, stage="unfiltered sample")
    predictions = await _predict(converted.examples, relabelled, run, stage="unfiltered baseline")
    made = {
        "conversations_drawn": len(drawn),
        "answers_without_reference": sum(one.problem is not None for one in relabelled),
        "skipped_assistant_messages": converted.reasons,
    }
    found = {one.id: after for one, after in zip(converted.examples, relabelled, strict=True)}
    return Sample(made, ScoredSet("unfiltered_sample", predictions, found))


def base_models(inputs: Inputs) -> list[str]:
    """Name the models that wrote the recorded answers, as far as they are known."""
    turns = (turn for one in inputs.intake.conversations for turn in one.turns.values())
    return sorted({turn.model for turn in turns if turn.model is not None})


async def _predict(
    recorded: Sequence[Example], relabelled: Sequence[Relabelled], run: Run, *, stage: str
) -> list[Prediction]:
    total = sum(len(one.example.targets) for one in relabelled if one.problem is None)
    predictions = await predict(
        recorded, relabelled, run.teachers, run.task, done=lambda done: run.tell(stage, done, total)
    )
    return [replace(one, columns=await run.trace_columns(Step.JUDGE, one.judge_call)) for one in predictions]
