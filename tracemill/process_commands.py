"""`tracemill process`, `status` and `predictions`: from traces to a dataset, and what became of a run."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from processing.budget import Budget
from processing.dataset_files import PREDICTIONS
from processing.inputs import Files, Inputs, find_files, read_inputs
from processing.model_client import ModelClient
from processing.pipeline import Dataset
from processing.plan import Plan, make_plan
from processing.run import process as run_process
from processing.sources import Intake
from processing.sources import from_store as read_store
from processing.teachers import Teachers
from store.data_files import TRACES_FILE, WORK_FILE
from store.datasets.version_json import version_json
from store.filter import parse_filter
from store.job import Erased, Job, JobStatus
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
    fail,
    find_run,
    run_to_end,
    usage,
)
from tracemill.run_version_command import made_line, make_version, require_openable


def process(
    out: Annotated[Path, typer.Option(help="Folder for the dataset; the same folder again goes on with the same run.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with traces.jsonl, job_description.json, config.yaml, maybe test.jsonl.")
    ] = None,
    traces: Annotated[Path | None, typer.Option(help="Trace file, JSON Lines.")] = None,
    from_store: Annotated[bool, typer.Option("--from-store", help="Take the captured traces.")] = False,
    where: Annotated[str | None, typer.Option(help="With --from-store: only traces that this filter selects.")] = None,
    job_description: Annotated[Path | None, typer.Option(help="Job description, JSON.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration, YAML or JSON.")] = None,
    test: Annotated[Path | None, typer.Option(help="Your own test set, JSON Lines or CSV; used as it is.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    strict: Annotated[bool, typer.Option("--strict", help="A line that cannot be read is an error.")] = False,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    ask_above: Annotated[
        float | None,
        typer.Option(min=0, help="Plan first, and ask before spending more than so much in the worst case."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dataset_name: Annotated[
        str | None, typer.Option("--dataset", help="Freeze what comes out as the next version of this dataset, too.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="With --dataset: a few words that lists of versions show.")] = None,
    as_json: AsJson = False,
) -> None:
    """Filter, convert, split and relabel traces into a dataset.

    Teachers are asked at the servers that the configuration names, or at TRACEMILL_TEACHER_BASE_URL. An interrupted run
    goes on when the same command is given again; what was paid for is not paid again.
    """
    files = _files(data, traces, job_description, config, test, out, from_store=from_store, where=where)
    if note is not None and dataset_name is None:
        usage("--note is the note of a version and needs --dataset.")
    if dataset_name is not None:
        run_to_end(require_openable(dataset_name, data_dir))
    if ask_above is not None and not yes:
        _confirm(run_to_end(_plan(files, where, data_dir, strict=strict)), ask_above)
    budget = Budget(max_calls, max_cost)
    job, dataset = run_to_end(_process(files, where, out, data_dir, budget, strict=strict, is_quiet=as_json))
    made = None if dataset_name is None else run_to_end(make_version(job, dataset_name, note, data_dir))
    if as_json:
        version = {} if made is None else {"version": version_json(made.version), "is_new_version": made.is_new}
        typer.echo(json.dumps({**_job_json(job), "report": dataset.report, **version}))
    else:
        typer.echo(_summary(job, dataset))
        if made is not None:
            typer.echo(f"  {made_line(made)}")
    if any(totals["failed"] for totals in dataset.report["totals"].values()):
        raise typer.Exit(PARTIAL)


def plan(
    data: Annotated[
        Path | None, typer.Option(help="Folder with traces.jsonl, job_description.json, config.yaml, maybe test.jsonl.")
    ] = None,
    traces: Annotated[Path | None, typer.Option(help="Trace file, JSON Lines.")] = None,
    from_store: Annotated[bool, typer.Option("--from-store", help="Take the captured traces.")] = False,
    where: Annotated[str | None, typer.Option(help="With --from-store: only traces that this filter selects.")] = None,
    job_description: Annotated[Path | None, typer.Option(help="Job description, JSON.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration, YAML or JSON.")] = None,
    test: Annotated[Path | None, typer.Option(help="Your own test set, JSON Lines or CSV.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    strict: Annotated[bool, typer.Option("--strict", help="A line that cannot be read is an error.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what `tracemill process` would buy: calls, tokens and money by step. Nobody is asked."""
    files = _files(data, traces, job_description, config, test, None, from_store=from_store, where=where)
    planned = run_to_end(_plan(files, where, data_dir, strict=strict))
    typer.echo(json.dumps(planned.as_json()) if as_json else plan_text(planned))


def status(
    run: Annotated[str, typer.Argument(help="Run id, name, or folder of the dataset.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: Annotated[str, typer.Option(help="text or json.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Tell where a run stands and, once it is done, how good the base model is."""
    if output not in ("text", "json"):
        usage(f'--output is "{output}"; expected "text" or "json".')
    job = run_to_end(find_run(run, data_dir))
    erased = run_to_end(_erased(job.run_id, data_dir))
    if as_json or output == "json":
        typer.echo(json.dumps({**_job_json(job), "erased": None if erased is None else erased._asdict()}))
        return
    lines = [f"run     {job.run_id} ({job.name})", f"status  {job.status}", f"folder  {job.out_dir}"]
    if job.error:
        lines.append(f"error   {job.error}")
    for name, rows in (job.counts or {}).get("rows", {}).items():
        lines.append(f"rows    {rows:>7}  {name}")
    for name, score in (job.base_model_performance or {}).items():
        lines.append(f"base model  {name}: {json.dumps(score)}")
    if job.status is JobStatus.SUCCESS and job.base_model_performance is None:
        lines.append("base model  not scored")
    if erased is not None:
        lines.append(f"erased  {erased.traces} of its traces by {erased.erased_at}; make it again")
    typer.echo("\n".join(lines))


def predictions(
    run: Annotated[str, typer.Argument(help="Run id, name, or folder of the dataset.")],
    file_name: Annotated[
        Path | None, typer.Option(help="Where to write. [default: <run>-traces-predictions.jsonl]")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write the base model's predictions on the test set, one JSON object per line."""
    job = run_to_end(find_run(run, data_dir))
    source = Path(job.out_dir) / PREDICTIONS
    if job.status is not JobStatus.SUCCESS or not source.is_file():
        fail(f"run {job.name} has no predictions: it is {job.status}. Run `tracemill process` to its end first.")
    if job.base_model_performance is None:
        fail(f"run {job.name} has no predictions: the base model was not scored. report.md in its folder tells why.")
    target = file_name or Path(f"{Path(run).name or job.name}-traces-predictions.jsonl")
    try:
        shutil.copyfile(source, target)
    except shutil.SameFileError:
        fail(f"{target} is the run's own file. Choose another --file-name.")
    except OSError as exc:
        fail(f"{target}: cannot be written ({exc.strerror}).")
    typer.echo(json.dumps({"run_id": job.run_id, "name": job.name, "file": str(target)}) if as_json else str(target))


def _files(
    data: Path | None,
    traces: Path | None,
    job_description: Path | None,
    config: Path | None,
    test: Path | None,
    out: Path | None,
    *,
    from_store: bool,
    where: str | None,
) -> Files:
    if (data is not None) + (traces is not None) + from_store != 1:
        usage("give exactly one of --data DIR, --traces FILE and --from-store.")
    if where is not None and not from_store:
        usage("--where selects captured traces and needs --from-store.")
    if data is not None:
        if job_description or config or test:
            usage("--data takes everything from its folder; leave --job-description, --config and --test out.")
        if out is not None and out.resolve() == data.resolve():
            usage("--out is the folder of --data; the dataset needs one of its own.")
        return find_files(data)
    if job_description is None or config is None:
        usage("--job-description and --config are needed beside --traces and --from-store.")
    return Files(job_description, config, traces, test)


async def _plan(files: Files, where: str | None, data_dir: Path, *, strict: bool) -> Plan:
    inputs = await _read_inputs(files, where, data_dir, strict=strict)
    async with await WorkStore.open(data_dir / WORK_FILE) as work, ModelClient(1) as client:
        return await make_plan(inputs, Teachers(client, work, inputs.config, os.environ))


def _confirm(planned: Plan, ask_above: float) -> None:
    """Ask before the run when it may cost more than that, or when nobody knows what it costs."""
    most = planned.most_cost
    if most is not None and most <= ask_above:
        return
    typer.echo(plan_text(planned), err=True)
    if not sys.stdin.isatty():
        usage("this may cost more than --ask-above allows without asking, and nobody is there to ask. Give --yes.")
    if not typer.confirm("Go on?", err=True):
        fail("nothing was bought.", INTERRUPTED)


async def _process(
    files: Files, where: str | None, out: Path, data_dir: Path, budget: Budget, *, strict: bool, is_quiet: bool
) -> tuple[Job, Dataset]:
    inputs = await _read_inputs(files, where, data_dir, strict=strict)
    async with await WorkStore.open(data_dir / WORK_FILE) as work:
        with show_progress(is_quiet=is_quiet) as progress:
            return await run_process(inputs, out, work, os.environ, budget=budget, progress=progress)


async def _read_inputs(files: Files, where: str | None, data_dir: Path, *, strict: bool) -> Inputs:
    intake = None if files.traces else await _read_store(data_dir, where)
    return read_inputs(files, intake=intake, where=where, strict=strict)


async def _read_store(data_dir: Path, where: str | None) -> Intake:
    selection = None if where is None else parse_filter(where)
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        return await read_store(reader, selection)


async def _erased(run_id: str, data_dir: Path) -> Erased | None:
    async with await WorkStore.open_to_read(data_dir / WORK_FILE) as work:
        return await work.erased(run_id)


def _job_json(job: Job) -> dict[str, Any]:
    return {
        "run_id": job.run_id,
        "name": job.name,
        "status": job.status,
        "out_dir": job.out_dir,
        "base_model_performance": job.base_model_performance,
        "counts": job.counts,
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


def _summary(job: Job, dataset: Dataset) -> str:
    report = dataset.report
    lines = [f"{job.out_dir}: {job.status}"]
    lines += [f"  {rows:>7}  {name}" for name, rows in report["rows"].items()]
    conversations = report["totals"]["conversations"]
    lines.append(
        "  {entered} conversations: {kept} kept, {dropped} dropped, {failed} failed, {review} to review".format(
            **conversations
        )
    )
    lines += [f"  base model {name}: {json.dumps(s)}" for name, s in (report["base_model_performance"] or {}).items()]
    lines += [f"  warning: {warning}" for warning in report["warnings"]]
    lines.append(f"  The whole story: {Path(job.out_dir) / 'report.md'}")
    return "\n".join(lines)
