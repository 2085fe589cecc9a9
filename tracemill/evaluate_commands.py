"""`tracemill evaluate` and `tracemill compare`: models on a frozen version, alone and side by side."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from processing import job_description as descriptions
from processing.budget import Budget
from processing.errors import InputError, UnknownMetricError
from processing.evaluation.comparison import Comparison, compare_models, compare_stored
from processing.evaluation.cutoffs import Cutoff, Held, check_cutoffs, hold, read_cutoffs
from processing.evaluation.evaluate import Evaluated, Wanted
from processing.evaluation.evaluate import evaluate as run_evaluate
from processing.evaluation.page import sides_of
from processing.evaluation.suite import check_metrics
from processing.model_client import ModelClient
from processing.model_config import load_models
from processing.teachers import Teachers
from store.data_files import WORK_FILE
from store.datasets.evaluation_store import EvaluationStore
from tracemill.evaluation_files import Html, Plot, Shown, check_files, write_files
from tracemill.evaluation_text import bill_line, comparison_text, evaluation_text, held_lines
from tracemill.fitted_table import terminal_width
from tracemill.progress_lines import show_progress
from tracemill.run_command import DEFAULT_DATA_DIR, PARTIAL, AsJson, DataDir, MaxCalls, MaxCost, run_to_end, usage

CUTOFF_NOT_MET = 5
_SECTION = "evaluation"
Reference = Annotated[
    str, typer.Argument(metavar="REF", help="A frozen version: NAME-v3, or NAME for the newest frozen one.")
]
Part = Annotated[
    Literal["test", "train", "all"], typer.Option(help="Which rows are asked; a row that is not split counts as train.")
]
Metrics = Annotated[str, typer.Option(help="Metrics to show, with commas between. [default: all of the task]")]


class _Measured(NamedTuple):
    """What an evaluation came to, and how it stands to the bounds that were asked for."""

    evaluated: Evaluated
    held: Sequence[Held]


def evaluate(
    reference: Reference,
    model: Annotated[
        list[str] | None, typer.Option(help="A model, as the configuration calls it; may be given several times.")
    ] = None,
    part: Part = "test",
    task: Annotated[
        Literal["auto", "classification", "tool", "text"],
        typer.Option(help="What kind of answers are scored; auto goes by the version and its answers."),
    ] = "auto",
    metrics: Metrics = "",
    judge: Annotated[str | None, typer.Option(help="A model that judges answers against the reference.")] = None,
    job_description: Annotated[
        Path | None, typer.Option(help="What the judge is told of the task. [default: that of the version's run]")
    ] = None,
    baseline: Annotated[
        Literal["recorded"] | None, typer.Option(help="recorded: the original model's answers, which cost nothing.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration that says where models are asked.")] = None,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    cutoffs: Annotated[
        str | None, typer.Option(help="Bounds to keep, as accuracy=0.9,cost_per_row<=0.01; else the exit code is 5.")
    ] = None,
    plot: Plot = None,
    html: Html = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Have models answer the rows of a frozen version, and score them: metrics, cost per row, latency.

    What was answered once is never paid for again: the same command gives the same numbers, and one that was stopped
    goes on. Exit code 4: a server failed in passing, and running again asks for what is missing; 5: a cutoff is not
    met.
    """
    if not model and baseline is None:
        usage("name a model (--model, may be given several times), or take --baseline recorded.")
    if job_description is not None and judge is None:
        usage("--job-description is for the judge; name one with --judge.")
    wanted = Wanted(
        reference=reference,
        models=tuple(model or ()),
        part=part,
        suite=task,
        metrics=_metric_names(metrics),
        judge=judge,
        has_recorded=baseline is not None,
        cutoffs=_bounds(cutoffs),
    )

    async def evaluated() -> _Measured:
        check_files(plot, html)
        described = wanted if job_description is None else _described(wanted, job_description)
        try:
            found = await _evaluate(described, config, Budget(max_calls, max_cost), data_dir, is_quiet=as_json)
            return _Measured(found, hold(wanted.cutoffs, found.evaluations))
        except UnknownMetricError as exc:
            usage(str(exc))

    found, held = run_to_end(evaluated())
    shown = Shown(found.evaluations, found.comparison, found.metrics, found.warnings, held)
    written = run_to_end(write_files(shown, plot, html))
    typer.echo(_as_json(found, held, written) if as_json else _as_text(found, held, written))
    _leave(found, held)


def compare(
    names: Annotated[
        list[str],
        typer.Argument(metavar="EVALUATION...|REF", help="Ids of two evaluations or more, or one frozen version."),
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="With REF: a model that was evaluated on it; give two or more.")
    ] = None,
    part: Part = "test",
    metrics: Metrics = "",
    plot: Plot = None,
    html: Html = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Compare evaluations answer by answer: paired differences with intervals, and a verdict for each.

    Evaluations of different test rows are refused: their scores say nothing of each other.
    """
    models = list(dict.fromkeys(model or ()))
    if models and (len(names) > 1 or len(models) < 2):
        usage("with --model name one version and two models or more: compare REF --model A --model B.")
    if not models and len(names) < 2:
        usage("name two evaluations or more, or a version with --model A --model B.")
    wanted = _metric_names(metrics)

    async def compared() -> Comparison:
        check_files(plot, html)
        async with await EvaluationStore.open_to_read(data_dir / WORK_FILE) as store:
            if models:
                return await compare_models(names[0], models, store, part=part)
            return await compare_stored(names, store)

    found = run_to_end(compared())
    shown = wanted or tuple(dict.fromkeys(one.metric for one in found.differences))
    written = run_to_end(write_files(Shown(found.evaluations, found, shown), plot, html))
    if as_json:
        typer.echo(json.dumps({**found.as_json(), "files": [str(path) for path in written]}))
        return
    sides = sides_of(found.evaluations, found)
    width = terminal_width()
    told = [evaluation_text(sides, shown, None, width), comparison_text(found, shown, width)]
    typer.echo("\n\n".join([*told, *map(str, written)]))


def _described(wanted: Wanted, path: Path) -> Wanted:
    return replace(wanted, description=descriptions.load(path, task=""))


async def _evaluate(
    wanted: Wanted, config: Path | None, budget: Budget, data_dir: Path, *, is_quiet: bool
) -> Evaluated:
    models = load_models(config, _SECTION)
    async with await EvaluationStore.open(data_dir / WORK_FILE) as store, ModelClient(models.parallel) as client:
        teachers = Teachers(client, store, models, os.environ, budget=budget)
        with show_progress(is_quiet=is_quiet) as progress:
            return await run_evaluate(wanted, store, teachers, progress=progress)


def _as_json(found: Evaluated, held: Sequence[Held], written: Sequence[Path]) -> str:
    files = {"cutoffs": [one.as_json() for one in held], "files": [str(path) for path in written]}
    return json.dumps({**found.as_json(), **files})


def _as_text(found: Evaluated, held: Sequence[Held], written: Sequence[Path]) -> str:
    sides = sides_of(found.evaluations, found.comparison)
    warnings = [f"warning: {warning}" for warning in found.warnings]
    told = [bill_line(found), *warnings, *held_lines(held), *map(str, written)]
    return "\n\n".join([evaluation_text(sides, found.metrics, found.comparison, terminal_width()), "\n".join(told)])


def _bounds(text: str | None) -> list[Cutoff]:
    try:
        found = [] if text is None else read_cutoffs(text)
        check_cutoffs(found)
    except InputError as exc:
        usage(str(exc))
    return found


def _metric_names(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, map(str.strip, text.split(","))))
    try:
        check_metrics(names)
    except UnknownMetricError as exc:
        usage(str(exc))
    return names


def _leave(found: Evaluated, held: Sequence[Held]) -> None:
    if any(not one.is_met for one in held):
        raise typer.Exit(CUTOFF_NOT_MET)
    if found.unfinished:
        raise typer.Exit(PARTIAL)
