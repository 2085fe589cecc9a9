"""`tracemill datasets judge`, `filter` and `split`: the stages of curation, each of which runs alone."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from processing import job_description as descriptions
from processing.budget import Budget
from processing.datasets.curation import Curated
from processing.datasets.curation_stages import filter_rows, usual_judge
from processing.datasets.curation_stages import judge as judge_dataset
from processing.datasets.judging import DEFAULT_JUDGE, DEFAULT_THRESHOLD
from processing.datasets.row_filter import Duplicates, FilterRules, Handling, read_where
from processing.datasets.row_split import DEFAULT_SEED, SplitRows, split_rows
from processing.errors import InputError
from processing.model_client import ModelClient
from processing.model_config import load_models
from processing.progress import StageProgress
from processing.teachers import Teachers
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from tracemill.curation_text import curated_text, split_text
from tracemill.dataset_commands import Reference, datasets
from tracemill.personal_data import find_personal
from tracemill.progress_lines import show_progress
from tracemill.run_command import DEFAULT_DATA_DIR, AsJson, DataDir, MaxCalls, MaxCost, run_to_end, usage

_TASK = "chat-completion"


@datasets.command()
def judge(
    reference: Reference,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"The judge, as the configuration calls it. [default: that of last time, else {DEFAULT_JUDGE}]"
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help=f"Least score that stays, 0 to 1. [default: that of the last time, else {DEFAULT_THRESHOLD}]"
        ),
    ] = None,
    criteria: Annotated[
        Path | None, typer.Option(help="What else to look at, as text in a file. [default: as last time]")
    ] = None,
    job_description: Annotated[
        Path | None, typer.Option(help="Job description, JSON: the task to judge by. [default: as last time]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration that says where the model is asked.")] = None,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Have a model score the rows of the active version, and drop those below a threshold.

    Each row is scored for helpfulness, relevance, format and the criteria of the task. Scores stay with the rows: what
    was scored is never paid for again, and --threshold alone moves it without asking anybody.
    """
    asked = (model, criteria, job_description, config, max_calls, max_cost)
    only_moves = threshold is not None and all(value is None for value in asked)

    async def judged() -> Curated:
        task, rules = _task(job_description), _criteria(criteria, job_description)
        models = load_models(config)
        async with await DatasetStore.open(data_dir / WORK_FILE) as store, ModelClient(models.parallel) as client:
            teachers = Teachers(client, store, models, os.environ, budget=Budget(max_calls, max_cost))
            counts = teachers.counts
            asks = None if only_moves else model or await usual_judge(store, reference)
            with show_progress(is_quiet=as_json or only_moves) as progress:
                return await judge_dataset(
                    store,
                    reference,
                    asks,
                    teachers,
                    threshold=threshold,
                    task=task,
                    criteria=rules,
                    find_personal=find_personal,
                    tell=lambda done, total: progress(
                        StageProgress("judge", done, total, counts.in_flight, counts.paid, counts.cached, counts.failed)
                    ),
                )

    _print(run_to_end(judged()), as_json=as_json)


@datasets.command("filter")
def filter_(
    reference: Reference,
    min_score: Annotated[
        float | None, typer.Option(help="Least judge's score that stays; rows that nobody scored stay.")
    ] = None,
    max_chars: Annotated[int | None, typer.Option(help="Most characters of a row, input and output together.")] = None,
    min_chars: Annotated[int | None, typer.Option(help="Fewest.")] = None,
    drop_errors: Annotated[
        bool,
        typer.Option(
            "--drop-errors/--keep-errors",
            help="What becomes of failed calls, answers cut short or empty, refusals, and answers and tool calls that "
            "are not valid.",
        ),
    ] = True,
    valid_json: Annotated[
        bool, typer.Option("--valid-json", help="Drop answers that are not JSON, whatever the row asks for.")
    ] = False,
    cluster: Annotated[
        list[str] | None, typer.Option(help="Only rows of this cluster; may be given several times.")
    ] = None,
    pii: Annotated[
        Handling, typer.Option(help="What becomes of rows with personal data or secrets: keep, review or drop.")
    ] = "keep",
    duplicates: Annotated[
        Duplicates, typer.Option(help="Which duplicates go: exact ones, near ones too, or none (keep).")
    ] = "exact",
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only rows whose metadata have this, as tags=reviewed; may be given several times."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Drop rows of the active version by rules; those of the last time no longer hold, so give them all at once.

    Nobody is asked. Rows that a rule let go of come back when it is left out.
    """

    async def filtered() -> Curated:
        rules = FilterRules(
            min_score=min_score,
            max_chars=max_chars,
            min_chars=min_chars,
            drop_errors=drop_errors,
            valid_json=valid_json,
            clusters=tuple(cluster) if cluster else None,
            where=read_where(where or ()),
            pii=pii,
            duplicates=duplicates,
        )
        async with await DatasetStore.open(data_dir / WORK_FILE) as store:
            return await filter_rows(store, reference, rules, find_personal=find_personal)

    _print(run_to_end(filtered()), as_json=as_json)


@datasets.command()
def split(
    reference: Reference,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share of the groups that go to test, between 0 and 1.")
    ] = None,
    test: Annotated[int | None, typer.Option(help="Conversations for test, in place of a share.")] = None,
    seed: Annotated[int, typer.Option(help="Decides who goes where.")] = DEFAULT_SEED,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Share out the rows of the active version between train and test; conversations and near duplicates never part.

    Rows that come in later go to a side of their own accord and move no other. Without a share or a number only rows
    that have no part get one: that of their near duplicates, else train.
    """
    if test_fraction is not None and test is not None:
        usage("give one of --test-fraction and --test: how much goes to test.")

    async def shared_out() -> SplitRows:
        async with await DatasetStore.open(data_dir / WORK_FILE) as store:
            return await split_rows(store, reference, test_fraction=test_fraction, test=test, seed=seed)

    done = run_to_end(shared_out())
    typer.echo(json.dumps(done.as_json()) if as_json else split_text(done))


def _task(path: Path | None) -> str | None:
    return None if path is None else descriptions.load(path, task=_TASK).as_text()


def _criteria(path: Path | None, job_description: Path | None) -> str | None:
    """What else the judge looks at: the file's text, and what the job description tells judges; None for neither."""
    told = (
        [] if job_description is None else [descriptions.load(job_description, task=_TASK).llm_as_a_judge_instructions]
    )
    if path is not None:
        try:
            told.append(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as exc:
            raise InputError(str(path), f"the criteria cannot be read: {exc}.") from exc
    said = "\n\n".join(text.strip() for text in told if text and text.strip())
    return None if path is None and not said else said


def _print(done: Curated, *, as_json: bool) -> None:
    typer.echo(json.dumps(done.as_json()) if as_json else curated_text(done))
