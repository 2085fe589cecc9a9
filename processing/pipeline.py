"""The stages of a dataset in their order, from conversations to files; `processing.run` publishes what comes out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

from processing import report as reports
from processing.base_model import Sample, base_models, score_sample, score_test
from processing.baseline import performance
from processing.calibration import calibrate
from processing.candidates import Task
from processing.convert import Converted
from processing.dataset_files import row_files
from processing.example import Conversation, Example
from processing.filter import Scores
from processing.inputs import Inputs
from processing.ledger import Kind, Stage, State
from processing.lineage import LINEAGE, lineage_file
from processing.progress import Progress
from processing.prompt import ask, hashes
from processing.relabel import Relabelled
from processing.report_examples import ScoredSet, right_and_wrong
from processing.report_files import report_files
from processing.report_warnings import warnings_of
from processing.rows import row
from processing.shortfall import require_enough
from processing.split import Part, Split, split
from processing.stages import (
    Run,
    cut_into_examples,
    drop_duplicates,
    filter_by_relevance,
    filter_by_rules,
    relabel_all,
    settle_output,
    settle_split,
)
from processing.teachers import Teachers
from store.recorded.message import Json
from store.recorded.message_form import text_of

_PartRow = tuple[Part, dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a run makes, before it is written.

    Attributes:
        files: Name to content.
        manifest: What made it.
        report: The report as JSON.
    """

    files: Mapping[str, bytes]
    manifest: Mapping[str, Json]
    report: Mapping[str, Json]


class _Chosen(NamedTuple):
    """What goes into train and test, and what led there.

    Attributes:
        examples: To be relabelled, those of train first.
        part_of: Their parts, by id.
        parts: The split they come from.
        unstructured: Conversations that were left over.
        scores: Relevance, by conversation.
        converted: What was cut into examples.
    """

    examples: Sequence[Example]
    part_of: Mapping[str, Part]
    parts: Split
    unstructured: Sequence[Conversation]
    scores: Mapping[str, Scores]
    converted: Converted


class _Measured(NamedTuple):
    """What base model and judge were held against."""

    test: ScoredSet
    sample: Sample
    calibration: Mapping[str, Json] | None


async def build(inputs: Inputs, teachers: Teachers, progress: Progress) -> Dataset:
    """Make a dataset of what was given, stage by stage; writes nothing but teacher calls.

    Raises:
        ProcessingError: The run failed.
    """
    teachers.check(models_of(inputs))
    task, notes = await describe(inputs, teachers)
    run = Run(task, teachers, progress=progress)
    chosen = await _choose(inputs, run)
    relabelled = await relabel_all(chosen.examples, run)
    settle_output(chosen.part_of, run)
    require_enough(_kept(run), inputs, run)
    measured = await _measure(chosen, relabelled, inputs, run)

    rows = list(_rows(chosen, relabelled, run))
    files = row_files(rows, chosen.unstructured, measured.test.predictions, inputs, run)
    counts = {name: content.count(b"\n") for name, content in files.items()}
    files[LINEAGE] = lineage_file(rows, chosen.unstructured, run)
    report = await _report(inputs, run, chosen, relabelled, measured, rows, counts, notes)
    return Dataset({**files, **report_files(report)}, _manifest(inputs), report)


async def _choose(inputs: Inputs, run: Run) -> _Chosen:
    """Filter the conversations, cut what is left into examples, and share these out."""
    # In an order of their own, so that the same traces make the same rows, in whatever order they come.
    conversations = sorted(inputs.intake.conversations, key=lambda conversation: conversation.id)
    run.conversations.update({conversation.id: conversation for conversation in conversations})
    run.ledger.enter(Kind.CONVERSATION, list(run.conversations))
    left = filter_by_rules(conversations, run)
    left, scores = await filter_by_relevance(left, run)
    left = drop_duplicates(left, run)
    examples, converted = cut_into_examples(left, run)
    parts = split_examples(examples, inputs)
    unstructured = settle_split(examples, parts, is_curated=inputs.test is not None, run=run)
    drawn = () if inputs.test else parts.test
    part_of = {example.id: Part.TRAIN for example in parts.train} | {example.id: Part.TEST for example in drawn}
    # Too few already: said before the committee is paid.
    require_enough(len(part_of), inputs, run)
    return _Chosen([*parts.train, *drawn], part_of, parts, unstructured, scores, converted)


async def _measure(chosen: _Chosen, relabelled: Sequence[Relabelled], inputs: Inputs, run: Run) -> _Measured:
    """Score the base model on test and on conversations that no filter has seen, and the judge against people."""
    tested = [
        (example, found)
        for example, found in zip(chosen.examples, relabelled, strict=True)
        if chosen.part_of[example.id] is Part.TEST
    ]
    return _Measured(
        test=await score_test([example for example, _ in tested], [found for _, found in tested], run),
        sample=await score_sample(list(run.conversations.values()), run),
        calibration=await calibrate(inputs.calibration, run.teachers, run.task),
    )


async def _report(
    inputs: Inputs,
    run: Run,
    chosen: _Chosen,
    relabelled: Sequence[Relabelled],
    measured: _Measured,
    rows: Sequence[_PartRow],
    counts: Mapping[str, int],
    notes: Sequence[str],
) -> dict[str, Json]:
    test, sample = measured.test, measured.sample
    warnings = warnings_of(counts, chosen.parts, run.task, inputs.test, base_models(inputs))
    return reports.report(
        reports.Findings(
            inputs=inputs,
            task=run.task,
            ledger=run.ledger,
            converted=chosen.converted,
            split=chosen.parts,
            relabelled=relabelled,
            rows=rows,
            counts=counts,
            test=performance(test.predictions, run.task),
            unfiltered=performance(sample.scored.predictions, run.task),
            sample=sample.made,
            examples=await right_and_wrong([test, sample.scored], run.task, run.teachers.work),
            calibration=measured.calibration,
            teachers=run.teachers,
            warnings=[*notes, *warnings],
        )
    )


def models_of(inputs: Inputs) -> list[str]:
    """Every model that may be asked."""
    wanted = inputs.config.trace_processing
    models: list[str] = []
    if wanted.relevance_filtering or wanted.relabel or wanted.compress_job_description:
        models.append(wanted.teacher_model_name)
    if wanted.relabel:
        models += inputs.config.committee
        if inputs.config.has_judge:
            models.append(inputs.config.evaluation.llm_as_a_judge_model_name)
    return models


async def describe(inputs: Inputs, teachers: Teachers) -> tuple[Task, list[str]]:
    """The task with the job description as prompts show it, shortened if that was asked for."""
    text = inputs.description.as_text()
    if not inputs.config.trace_processing.compress_job_description:
        return Task(inputs.config, inputs.description, text), []
    model = inputs.config.trace_processing.teacher_model_name
    answer = await teachers.ask(model, "compress", ask("compress", text), temperature=0)
    shorter = text_of(answer.message).strip()
    if answer.fault is None and shorter and len(shorter) < len(text):
        return Task(inputs.config, inputs.description, shorter), []
    why = str(answer.fault) if answer.fault else "the teacher's text is not shorter"
    return Task(inputs.config, inputs.description, text), [f"the job description was not compressed: {why}."]


def split_examples(examples: Sequence[Example], inputs: Inputs) -> Split:
    """Share the examples out as the configuration asks."""
    wanted = inputs.config.trace_processing
    return split(
        examples,
        train=wanted.num_traces_as_training_base,
        test=wanted.num_traces_as_testing_base,
        seed=inputs.config.base.random_seed,
        curated=inputs.test.examples if inputs.test else (),
        is_labelled=inputs.config.base.task == "classification",
    )


def _rows(chosen: _Chosen, relabelled: Sequence[Relabelled], run: Run) -> Iterator[_PartRow]:
    for example, found in zip(chosen.examples, relabelled, strict=True):
        if found.problem is None:
            part, scores = chosen.part_of[example.id], chosen.scores.get(example.conversation_id)
            columns = {**run.columns.get(example.conversation_id, {}), **run.columns.get(example.id, {})}
            yield part, {**row(example, found, part, scores, run.task), **columns}


def _kept(run: Run) -> int:
    return sum(end.state is State.KEPT and end.stage is Stage.OUTPUT for _, end in run.ledger.ends(Kind.EXAMPLE))


def _manifest(inputs: Inputs) -> dict[str, Json]:
    return {
        "made_by": f"tracemill {version('tracemill')}",
        "config": inputs.config.as_manifest(),
        "job_description": inputs.description.model_dump(mode="json"),
        "prompts": hashes(),
        "inputs": dict(inputs.hashes),
        "conversations": sorted(conversation.id for conversation in inputs.intake.conversations),
    }
