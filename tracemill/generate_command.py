"""`tracemill generate`: a dataset out of prompts, with the answers of a teacher that a judge likes best."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from processing.budget import Budget
from processing.config import Config
from processing.datasets.choice import Keep
from processing.datasets.generate import Wanted
from processing.datasets.generate import generate as run_generate
from processing.datasets.generate_config import load_generate
from processing.datasets.generate_plan import GeneratePlan, plan_generate
from processing.datasets.generate_report import GenerateReport
from processing.datasets.judging import DEFAULT_THRESHOLD
from processing.datasets.prompt_file import Setting
from processing.model_client import ModelClient
from processing.plain_value import read_json
from processing.progress import LiveProgress, StageProgress
from processing.teachers import Teachers
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import RowState
from tracemill.count_text import counted
from tracemill.plan_text import step_lines
from tracemill.progress_lines import show_progress
from tracemill.run_command import DEFAULT_DATA_DIR, PARTIAL, AsJson, DataDir, MaxCalls, MaxCost, fail, run_to_end, usage
from tracemill.terminal_text import one_line

_Prompts = Annotated[Path, typer.Option(help="A text file with one prompt on each line, or JSON Lines.")]
_Name = Annotated[str | None, typer.Option(help="Of the dataset; NAME-v1 insists that this will be its version 1.")]
_Temperature = Annotated[float | None, typer.Option(help="Of the teacher. [default: 0.7, and 0 for a single sample]")]
_Kept = Annotated[Keep, typer.Option(help="The best answer to a prompt, or all above the threshold.")]
_System = Annotated[str | None, typer.Option(help="System prompt, or a file that holds it.")]
_Task = Annotated[str | None, typer.Option(help="For the judge: the task in words, or a file.")]
_Criteria = Annotated[str | None, typer.Option(help="For the judge: what else to look at, or a file.")]
_Configuration = Annotated[
    Path | None,
    typer.Option(help="YAML or JSON: models, with_trace, synthgen. Without one: TRACEMILL_TEACHER_BASE_URL."),
]
_Add = Annotated[
    bool, typer.Option("--add", help="Add to the active version, or to the rows of the newest frozen one.")
]


def generate(
    prompts: _Prompts,
    teacher: Annotated[str, typer.Option(help="The model that answers.")],
    judge: Annotated[str, typer.Option(help="The model that scores the answers.")],
    name: _Name = None,
    n_samples: Annotated[int, typer.Option(help="Answers to each prompt.")] = 4,
    threshold: Annotated[float, typer.Option(help="Least score that makes a row, 0 to 1.")] = DEFAULT_THRESHOLD,
    temperature: _Temperature = None,
    keep: _Kept = Keep.BEST,
    system: _System = None,
    task: _Task = None,
    criteria: _Criteria = None,
    response_format: Annotated[Path | None, typer.Option(help="JSON file, as a request has it.")] = None,
    tools: Annotated[Path | None, typer.Option(help="JSON file with tool definitions.")] = None,
    config: _Configuration = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only tell what it would buy.")] = False,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    add: _Add = False,
    note: Annotated[str | None, typer.Option(help="A few words that lists show.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Have a teacher answer prompts several times and keep the answers that a judge likes best.

    Every answer stays in the version with its score and the reason why it is no row. An interrupted command goes on
    when it is given again; what was paid for is not paid again, also with more prompts or another threshold.
    """
    how = Wanted(teacher, judge, n_samples=n_samples, threshold=threshold, temperature=temperature, keep=keep)
    asked = _Asked(prompts, how, _Texts(system, tools, response_format, task, criteria), config, data_dir)
    if plan:
        planned = run_to_end(_planned(asked))
        typer.echo(json.dumps(planned.as_json()) if as_json else _plan_text(planned))
        return
    if name is None:
        usage("--name is needed, unless --plan only asks for the cost.")
    into = _Into(name, add=add, note=note)
    report = run_to_end(_generated(asked, into, Budget(max_calls, max_cost), is_quiet=as_json))
    typer.echo(json.dumps(report.as_json()) if as_json else _report_text(report))
    if report.count(RowState.FAILED):
        raise typer.Exit(PARTIAL)


class _Texts(NamedTuple):
    """What teacher and judge are told, each as it was given: itself, or the file that holds it."""

    system: str | None
    tools: Path | None
    response_format: Path | None
    task: str | None
    criteria: str | None

    def read_into(self, wanted: Wanted) -> Wanted:
        """Read the files. Raises InputError where one cannot be read."""
        setting = Setting(_text(self.system, "--system"), _json(self.tools), _json(self.response_format))
        task, criteria = _text(self.task, "--task"), _text(self.criteria, "--criteria")
        return replace(wanted, setting=setting, task=task, criteria=criteria)


class _Asked(NamedTuple):
    """What is asked of whom, before any file is read."""

    prompts: Path
    how: Wanted
    texts: _Texts
    config: Path | None
    data_dir: Path

    def read(self) -> tuple[Wanted, Config]:
        """Read all files but the prompts. Raises InputError where one cannot be read."""
        return self.texts.read_into(self.how), load_generate(self.config)


class _Into(NamedTuple):
    """The version to be made."""

    name: str
    add: bool
    note: str | None


async def _planned(asked: _Asked) -> GeneratePlan:
    wanted, config = asked.read()
    async with await DatasetStore.open(asked.data_dir / WORK_FILE) as store, ModelClient(1) as client:
        return await plan_generate(asked.prompts, Teachers(client, store, config, os.environ), wanted)


async def _generated(asked: _Asked, into: _Into, budget: Budget, *, is_quiet: bool) -> GenerateReport:
    wanted, config = asked.read()
    with show_progress(is_quiet=is_quiet) as progress:
        live = LiveProgress(progress, lambda: budget.cost)
        async with await DatasetStore.open(asked.data_dir / WORK_FILE) as store, ModelClient(config.parallel) as client:
            teachers = Teachers(client, store, config, os.environ, budget=budget, changed=live.refresh)
            counts = live.counts = teachers.counts

            def tell(stage: str, done: int, total: int) -> None:
                calls = (counts.in_flight, counts.paid, counts.cached, counts.failed)
                live(StageProgress(stage, done, total, *calls))

            name, add, note = into
            return await run_generate(asked.prompts, name, store, teachers, wanted, add=add, note=note, tell=tell)


def _plan_text(plan: GeneratePlan) -> str:
    told = f"{counted(plan.prompts, 'prompt')}, {counted(plan.samples, 'answer')} to each."
    steps = step_lines(plan.steps, cost=plan.cost, most_cost=plan.most_cost)
    return "\n".join([told, "", *steps, *(one_line(f"warning: {warning}") for warning in plan.warnings)])


def _report_text(report: GenerateReport) -> str:
    label = "" if report.version is None else report.version.label
    kept, dropped, failed = (report.count(state) for state in (RowState.KEPT, RowState.DROPPED, RowState.FAILED))
    entered = f"{label}: {counted(report.prompts, 'prompt')}, {report.entered:,} answers and unused lines"
    lines = [f"{entered}: {kept:,} kept, {dropped:,} dropped, {failed:,} failed"]
    for state, reasons in sorted(report.reasons.items()):
        lines += [f"  {count:>7,}  {state}: {reason}" for reason, count in sorted(reasons.items())]
    lines.append(f"  {counted(report.paid, 'call')} bought, {report.cached:,} known before")
    for purpose, bill in sorted(report.bill.items()):
        cost = "unknown cost" if bill.cost is None else f"{bill.cost:,.4f}"
        tokens = bill.prompt_tokens + bill.completion_tokens
        lines.append(f"  {purpose}: {counted(bill.calls, 'call')}, {tokens:,} tokens, {cost}")
    return "\n".join([*lines, *(one_line(f"  warning: {warning}") for warning in report.warnings)])


def _text(given: str | None, option: str) -> str | None:
    """The text of an option, or of the file that it names; an @ before the name insists on a file."""
    if given is None or not (given.startswith("@") or _is_file(given)):
        return given
    path = given.removeprefix("@")
    try:
        return Path(path).read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as exc:
        fail(f"{option}: {path} cannot be read ({getattr(exc, 'strerror', None) or 'it is not UTF-8'}).")


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a name
        return False


def _json(path: Path | None) -> Any:  # noqa: ANN401 - whatever the file holds
    return None if path is None else read_json(path)
