"""One run, from conversations to a folder with a dataset in it.

A run may be killed at any moment and started again: every teacher call is committed before its answer is used, so only
calls that were in flight are paid for again, and the bytes that come out are those of an undisturbed run.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from processing import report as reports
from processing.base_model import base_models, score_sample, score_test
from processing.baseline import performance
from processing.budget import Budget
from processing.calibration import calibrate
from processing.candidates import Task
from processing.dataset_files import FILES, row_files
from processing.errors import BudgetError, ProcessingError
from processing.example import Example
from processing.filter import Scores
from processing.inputs import Inputs
from processing.kept_inputs import keep_inputs
from processing.ledger import Kind, Stage, State
from processing.lineage import LINEAGE, lineage_file
from processing.model_client import ModelClient
from processing.output import OutputFolder
from processing.progress import LiveProgress, Progress, silent
from processing.prompt import ask, hashes
from processing.provenance import source_traces
from processing.relabel import Relabelled
from processing.report_examples import right_and_wrong
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
from store.errors import StoreError
from store.job import Job, JobStatus
from store.recorded.message import Json
from store.recorded.message_form import text_of
from store.work import WorkStore


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


async def process(
    inputs: Inputs,
    out_dir: Path,
    work: WorkStore,
    environ: Mapping[str, str],
    *,
    budget: Budget | None = None,
    progress: Progress = silent,
    first_wait_s: float = 0.5,
    built: Dataset | None = None,
) -> tuple[Job, Dataset]:
    """Make a dataset and publish it in `out_dir`; the job in `work` tells how it ended, whatever happened.

    Args:
        inputs: What to work on.
        out_dir: Folder of the dataset; a run into the same folder continues the same job.
        work: Call table and jobs.
        environ: Where keys and TRACEMILL_TEACHER_BASE_URL stand.
        budget: What this run may buy.
        progress: Told how far each stage is.
        first_wait_s: First wait before a failed call is tried again.
        built: The dataset, when it is there already and only has to be published.

    Raises:
        ProcessingError: The run failed; nothing was published and everything paid for is kept.
    """
    with OutputFolder(out_dir) as folder:
        folder.claim(FILES, {conversation.id for conversation in inputs.intake.conversations})
        job = await work.start_job(out_dir, name=folder.name, config=inputs.config.as_manifest())
        await work.set_run_sources(job.run_id, source_traces(inputs.intake.conversations))
        try:
            keep_inputs(out_dir, inputs, environ)
            dataset = built or await make_dataset(inputs, work, environ, budget, progress, first_wait_s=first_wait_s)
            folder.publish(dataset.files, dataset.manifest)
            folder.mark_erased(await work.erased_since_start(job))
        except asyncio.CancelledError:
            await work.end_job(job.run_id, JobStatus.STOPPED, error="interrupted; run the same command to go on")
            raise
        except BudgetError as exc:
            await work.end_job(job.run_id, JobStatus.STOPPED, error=str(exc))
            raise
        except (ProcessingError, StoreError, OSError) as exc:
            await work.end_job(job.run_id, JobStatus.FAILURE, error=str(exc))
            raise
        await work.end_job(
            job.run_id,
            JobStatus.SUCCESS,
            counts={name: dataset.report[name] for name in ("rows", "intake", "funnel", "totals", "calls", "warnings")},
            base_model_performance=dataset.report["base_model_performance"],
        )
        return await work.job(job.run_id) or job, dataset


async def make_dataset(
    inputs: Inputs,
    work: WorkStore,
    environ: Mapping[str, str],
    budget: Budget | None = None,
    progress: Progress = silent,
    *,
    first_wait_s: float = 0.5,
) -> Dataset:
    """Make a dataset and publish it nowhere; arguments and errors as `process` has them."""
    spent = budget or Budget()
    live = LiveProgress(progress, lambda: spent.cost)
    async with ModelClient(inputs.config.parallel, first_wait_s=first_wait_s) as client:
        teachers = Teachers(client, work, inputs.config, environ, budget=spent, changed=live.refresh)
        live.counts = teachers.counts
        return await build(inputs, teachers, live)


async def build(inputs: Inputs, teachers: Teachers, progress: Progress) -> Dataset:
    """Make a dataset of what was given, stage by stage; writes nothing but teacher calls.

    Raises:
        ProcessingError: The run failed.
    """
    teachers.check(models_of(inputs))
    task, notes = await describe(inputs, teachers)
    run = Run(task, teachers, progress=progress)
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
    chosen = [*parts.train, *drawn]
    # Too few already: said before the committee is paid.
    require_enough(len(chosen), inputs, run)
    relabelled = await relabel_all(chosen, run)
    part_of = {example.id: Part.TRAIN for example in parts.train} | {example.id: Part.TEST for example in drawn}
    settle_output(part_of, run)
    require_enough(_kept(run), inputs, run)
    tested = [number for number, example in enumerate(chosen) if part_of[example.id] is Part.TEST]
    scored = await score_test([chosen[number] for number in tested], [relabelled[number] for number in tested], run)
    sample = await score_sample(conversations, run)
    calibrated = await calibrate(inputs.calibration, teachers, task)

    rows = [
        (part_of[example.id], _row(example, found, part_of[example.id], scores.get(example.conversation_id), run))
        for example, found in zip(chosen, relabelled, strict=True)
        if found.problem is None
    ]
    files = row_files(rows, unstructured, scored.predictions, inputs, run)
    counts = {name: content.count(b"\n") for name, content in files.items()}
    files[LINEAGE] = lineage_file(rows, unstructured, run)
    found = reports.report(
        inputs,
        task,
        run.ledger,
        converted,
        parts,
        relabelled,
        rows,
        counts,
        {
            "test": performance(scored.predictions, task),
            "unfiltered_sample": performance(sample.scored.predictions, task),
        },
        sample.made,
        await right_and_wrong([scored, sample.scored], task, teachers.work),
        teachers,
        [*notes, *warnings_of(counts, parts, task, inputs.test, base_models(inputs))],
    )
    found["judge_calibration"] = calibrated
    files |= report_files(found)
    return Dataset(files, _manifest(inputs), found)


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


def _row(example: Example, found: Relabelled, part: Part, scores: Scores | None, run: Run) -> dict[str, Json]:
    columns = {**run.columns.get(example.conversation_id, {}), **run.columns.get(example.id, {})}
    return {**row(example, found, part, scores, run.task), **columns}


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
