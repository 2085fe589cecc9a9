"""`tracemill reprocess`: the traces of a run once more, under other settings."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from processing.budget import Budget
from processing.dataset_files import FILES
from processing.inputs import Inputs
from processing.kept_inputs import load_inputs, read_kept
from processing.model_client import ModelClient
from processing.output import OutputFolder
from processing.pipeline import Dataset
from processing.plan import Plan, make_plan
from processing.reprocess import Change, FileDifference, change_of, next_folder, row_difference
from processing.run import make_dataset, process
from processing.sources import from_store
from processing.teachers import Teachers
from store.data_files import TRACES_FILE, WORK_FILE
from store.job import Job
from store.recorded.message import Json
from store.traces import TraceReader
from store.work import WorkStore
from tracemill.plan_text import plan_text
from tracemill.progress_lines import show_progress
from tracemill.run_command import (
    DEFAULT_DATA_DIR,
    INTERRUPTED,
    PARTIAL,
    AsJson,
    DataDir,
    MaxCalls,
    MaxCost,
    RunName,
    fail,
    find_run,
    run_to_end,
    usage,
)


@dataclass(frozen=True, slots=True)
class _Reprocessing:
    """What is asked for, before anything is bought.

    Attributes:
        inputs: The run's inputs under the new configuration.
        change: What differs from the run.
        plan: What it would buy.
        environ: With the base URL of then where none is set now.
    """

    folder: Path
    out: Path
    inputs: Inputs
    change: Change
    plan: Plan
    environ: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def buys(self) -> bool:
        """Whether a model may have to be asked."""
        return any(step.most for step in self.plan.steps)

    @property
    def is_in_place(self) -> bool:
        """Whether the run's own files are replaced."""
        return self.folder.resolve() == self.out.resolve()


def reprocess(
    run: RunName,
    config: Annotated[
        Path | None, typer.Option(help="Configuration, YAML or JSON; only its trace_processing counts.")
    ] = None,
    trace_processing_config: Annotated[
        Path | None, typer.Option(help="File with nothing but keys of trace_processing.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the dataset; the run's own replaces it. [default: RUN-2]")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Process the traces of a run again under other settings, and show first which rows that changes.

    Keys that are left out keep their value. What models have ever answered is not asked again: moving a threshold
    costs nothing. Without --yes the difference is shown and a terminal asked; where there is none, nothing is done.
    """
    if (config is None) == (trace_processing_config is None):
        usage("give exactly one of --config FILE and --trace-processing-config FILE.")
    job = run_to_end(find_run(run, data_dir))
    path = config or trace_processing_config
    assert path is not None  # noqa: S101 - one of them is given
    wanted = run_to_end(_prepare(job, path, out, data_dir, is_section=config is None))
    told = None if as_json else wanted
    _show_change(told)
    if wanted.buys:
        _ask(yes, as_json, wanted, None)
        run_to_end(_check_out(wanted))
    dataset = run_to_end(_build(wanted, data_dir, Budget(max_calls, max_cost), is_quiet=as_json))
    rows = row_difference(wanted.folder, dataset.files)
    _show_rows(told, rows)
    if wanted.is_in_place or not wanted.buys:
        _ask(yes, as_json, wanted, rows)
    made = run_to_end(_publish(wanted, dataset, data_dir))
    if as_json:
        typer.echo(json.dumps({"run_id": made.run_id, **_as_json(wanted, rows), "done": True}))
    else:
        typer.echo(f"{made.out_dir}: {made.status}. The whole story: {Path(made.out_dir) / 'report.md'}")
    if any(totals["failed"] for totals in dataset.report["totals"].values()):
        raise typer.Exit(PARTIAL)


async def _prepare(job: Job, path: Path, out: Path | None, data_dir: Path, *, is_section: bool) -> _Reprocessing:
    folder = Path(job.out_dir)
    kept = load_inputs(folder)
    change = change_of(kept.config, path, is_section=is_section)
    stored = None
    if kept.trace_ids is not None:
        async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
            stored = await from_store(reader, trace_ids=kept.trace_ids)
    inputs, notes = read_kept(kept, change.config, stored=stored)
    environ = kept.environ(os.environ)
    async with await WorkStore.open(data_dir / WORK_FILE) as work, ModelClient(1) as client:
        plan = await make_plan(inputs, Teachers(client, work, inputs.config, environ))
        erased = await work.erased(job.run_id)
    if erased is not None:
        notes.append(f"{erased.traces} of the run's traces were erased by {erased.erased_at}.")
    return _Reprocessing(folder, out or next_folder(folder), inputs, change, plan, environ, (*change.notes, *notes))


async def _check_out(wanted: _Reprocessing) -> None:
    """See that the dataset can be published, before anything is paid for it."""
    with OutputFolder(wanted.out) as folder:
        folder.claim(FILES, {conversation.id for conversation in wanted.inputs.intake.conversations})


async def _build(wanted: _Reprocessing, data_dir: Path, budget: Budget, *, is_quiet: bool) -> Dataset:
    async with await WorkStore.open(data_dir / WORK_FILE) as work:
        with show_progress(is_quiet=is_quiet) as progress:
            return await make_dataset(wanted.inputs, work, wanted.environ, budget, progress)


async def _publish(wanted: _Reprocessing, dataset: Dataset, data_dir: Path) -> Job:
    async with await WorkStore.open(data_dir / WORK_FILE) as work:
        job, _ = await process(wanted.inputs, wanted.out, work, wanted.environ, built=dataset)
        return job


def _ask(yes: bool, as_json: bool, wanted: _Reprocessing, rows: Mapping[str, FileDifference] | None) -> None:
    """Go on with a person's consent only; where nobody can give it, leave with all that is known said."""
    if yes:
        return
    if as_json:
        typer.echo(json.dumps({**_as_json(wanted, rows), "done": False}))
    if as_json or not sys.stdin.isatty():
        usage("nothing was bought or replaced, since nobody is there to ask. Give --yes to go on.")
    what = f"Replace the files in {wanted.out}?" if wanted.is_in_place and rows else f"Go on, into {wanted.out}?"
    if not typer.confirm(what, err=True):
        fail("nothing was replaced.", INTERRUPTED)


def _show_change(wanted: _Reprocessing | None) -> None:
    if wanted is None:
        return
    lines = [f"note: {note}" for note in wanted.notes]
    lines += [f"{name}: {_short(before)} -> {_short(after)}" for name, before, after in wanted.change.settings]
    if not wanted.change.settings:
        lines.append("No setting differs.")
    lines.append(plan_text(wanted.plan) if wanted.buys else "Nobody is asked: every answer is there.")
    typer.echo("\n".join(lines))


def _show_rows(wanted: _Reprocessing | None, rows: Mapping[str, FileDifference]) -> None:
    if wanted is None:
        return
    width = max(len(name) for name in rows)
    lines = [f"{'':{width}}    added  removed  changed     same"]
    for name, found in rows.items():
        counts = (len(found.added), len(found.removed), len(found.changed), found.same)
        lines.append(f"{name:{width}} " + " ".join(f"{count:>8,}" for count in counts))
    if all(found.is_none for found in rows.values()):
        lines.append("No row differs.")
    typer.echo("\n".join(lines))


def _short(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_json(wanted: _Reprocessing, rows: Mapping[str, FileDifference] | None) -> dict[str, Json]:
    return {
        "out_dir": str(wanted.out.resolve()),
        "settings": [setting._asdict() for setting in wanted.change.settings],
        "notes": list(wanted.notes),
        "plan": wanted.plan.as_json(),
        "rows": None if rows is None else {name: found.as_json() for name, found in rows.items()},
    }
