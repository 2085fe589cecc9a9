"""`tracemill report`: the one page that a person approves a dataset by."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from processing.output import pretty
from processing.report_html import html_page
from processing.report_page import page
from store.data_files import WORK_FILE
from store.job import Job
from store.work import WorkStore
from tracemill.run_command import DEFAULT_DATA_DIR, AsJson, DataDir, RunName, fail, find_run, run_to_end

_NOTED = "since this report was written"


class Form(StrEnum):
    """What a report is written as."""

    MARKDOWN = "md"
    JSON = "json"
    HTML = "html"


def report(
    run: RunName,
    form: Annotated[Form, typer.Option("--format", help="Markdown, JSON, or one HTML page with charts.")] = (
        Form.MARKDOWN
    ),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; - or none is standard output.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run: composition, funnel, scores, examples, agreement, cost, warnings.

    `tracemill process` writes it beside the dataset, as report.md, report.json and report.html.
    """
    job = run_to_end(find_run(run, data_dir))
    found = _read(job)
    notes = run_to_end(_notes(job, data_dir))
    found = {**found, "warnings": [*notes, *found["warnings"]]}
    form = Form.JSON if as_json else form
    match form:
        case Form.MARKDOWN:
            content = page(found)
        case Form.JSON:
            content = pretty({"run_id": job.run_id, "name": job.name, **found}).decode()
        case Form.HTML:
            content = html_page(found, name=job.name)
    if output is None or str(output) == "-":
        typer.echo(content, nl=False)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(content)
    except OSError as exc:
        fail(f"{output}: cannot be written ({exc.strerror}).")
    typer.echo(str(output))


def _read(job: Job) -> dict[str, Any]:
    path = Path(job.out_dir) / "report.json"
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        fail(f"run {job.name} has no report: it is {job.status}. Run `tracemill process` to its end first.")
    except (OSError, ValueError) as exc:
        fail(f"{path}: cannot be read ({exc}). Run `tracemill process` into its folder again: it asks nobody.")
    if not isinstance(found, dict) or not {"task", "rows", "funnel", "base_model", "warnings"} <= found.keys():
        fail(f"{path}: is no report of a run. Run `tracemill process` into its folder again: it asks nobody.")
    return found


async def _notes(job: Job, data_dir: Path) -> list[str]:
    """Say what has become known of the run after its report was written."""
    async with await WorkStore.open_to_read(data_dir / WORK_FILE) as work:
        erased = await work.erased(job.run_id)
    if erased is None:
        return []
    return [f"Erasing took {erased.traces} of its traces by {erased.erased_at}, {_NOTED}: make the dataset again."]
