"""`tracemill evaluations`: what models came to, and what they answered."""

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from processing.baseline import JUDGE
from processing.evaluation.page import sides_of
from processing.evaluation.prediction_lines import prediction_lines
from store.data_files import WORK_FILE
from store.datasets.evaluation import Evaluation
from store.datasets.evaluation_store import EvaluationStore
from store.datasets.version import read_reference
from store.errors import DatabaseMissingError
from tracemill.evaluation_files import Html, Plot, Shown, write_files, write_private
from tracemill.evaluation_text import evaluation_line, evaluation_text, strata_text
from tracemill.fitted_table import terminal_width
from tracemill.run_command import DEFAULT_DATA_DIR, AsJson, DataDir, run_to_end

_T = TypeVar("_T")
Name = Annotated[str, typer.Argument(metavar="EVALUATION", help="Its id, or the first four digits of it or more.")]

evaluations = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List evaluations, show one, and write what its model answered. docs/evaluation.md tells what they mean.",
)


@evaluations.command("list")
def list_evaluations(
    reference: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="Only those of a dataset, or of its version NAME-v3.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List evaluations, the newest first."""

    async def listed(store: EvaluationStore) -> list[Evaluation]:
        named = None if reference is None else read_reference(reference)
        return await store.evaluations(*(named or (None, None)))

    for one in run_to_end(_listing(data_dir, listed)):
        typer.echo(json.dumps(one.as_json()) if as_json else evaluation_line(one))


@evaluations.command()
def show(
    name: Name,
    plot: Plot = None,
    html: Html = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show an evaluation: scores, cost, latency, failures, and where its model did worst."""
    found = run_to_end(_reading(data_dir, lambda store: store.evaluation(name)))
    metrics = tuple(found.metrics["scores"])
    notes = [f"{found.erased} of its answers were erased since, with their rows."] if found.erased else []
    written = run_to_end(write_files(Shown([found], None, metrics, notes), plot, html))
    if as_json:
        typer.echo(json.dumps(found.as_json()))
        return
    main = (JUDGE, *metrics) if JUDGE in metrics else metrics
    width = terminal_width()
    told = [evaluation_text(sides_of([found], None), metrics, None, width), strata_text(found, main, width), *notes]
    typer.echo("\n\n".join(filter(None, [*told, *map(str, written)])))


@evaluations.command()
def predictions(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; - or none is standard output.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write what a model answered, one JSON object per line, with the reference and every score."""

    async def written(store: EvaluationStore) -> bytes:
        found = await store.evaluation(name)
        content = b"".join([line async for line in prediction_lines(found, store)])
        if output is not None and str(output) != "-":
            write_private(output, content)
        return content

    content = run_to_end(_reading(data_dir, written))
    if output is None or str(output) == "-":
        sys.stdout.buffer.write(content)
    else:
        typer.echo(str(output))


async def _reading(data_dir: Path, work: Callable[[EvaluationStore], Awaitable[_T]]) -> _T:
    async with await EvaluationStore.open_to_read(data_dir / WORK_FILE) as store:
        return await work(store)


async def _listing(data_dir: Path, work: Callable[[EvaluationStore], Awaitable[list[Evaluation]]]) -> list[Evaluation]:
    """As `_reading`; where there is no database yet there is nothing to list."""
    try:
        return await _reading(data_dir, work)
    except DatabaseMissingError:
        return []
