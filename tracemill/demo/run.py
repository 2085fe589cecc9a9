"""The demo from its first call to its last row, in the order it happens."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console

from tracemill.demo import admin_api, children, dataset_files, show
from tracemill.demo.cast import ARBITER, COMMITTEE
from tracemill.demo.scripted_models import READY as MODELS_READY
from tracemill.demo.workload_script import scripts

SERVE_READY = "tracemill ready: "
TRACEMILL = (sys.executable, "-c", "from tracemill.cli import main; main()")
"""The command of this very installation, whatever stands first on PATH."""
TASK_DESCRIPTION = (
    "You are a helpful banking assistant that answers customer questions about their accounts, transactions, "
    "and banking products."
)
DATASET = "banking"
CONTENDERS = ("teacher-a", "teacher-c")
"""Models that might take the base model's place."""
_CUSTOMERS = 8
_STORED_WITHIN_S = 20.0
_SHOWN_ROWS = 3


class MissingClientError(Exception):
    """The demo's extra, the `openai` package, is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The demo's application needs the openai package. Install it with: pip install 'tracemill[demo]'"
        )


class Served(NamedTuple):
    """Where the running server is."""

    base_url: str
    admin_url: str


@dataclass(frozen=True)
class Stage:
    """What every step of the demo needs.

    Attributes:
        data_dir: The data directory; a store in it is added to.
        console: What is shown goes there.
    """

    data_dir: Path
    console: Console

    @property
    def logs(self) -> Path:
        """Where the children's messages go."""
        return self.data_dir / "logs"

    @property
    def environment(self) -> dict[str, str]:
        """Our environment without settings of Tracemill: the demo is the same whatever this machine is set up for."""
        return {name: value for name, value in os.environ.items() if not name.startswith("TRACEMILL_")}


def run_demo(stage: Stage, *, port: int = 0, admin_port: int = 0, keep: bool = False) -> dict[str, Any]:
    """Run the demo.

    Args:
        stage: Where it takes place.
        port: Of the proxy; 0 picks a free one.
        admin_port: Of its admin side; 0 picks a free one.
        keep: Leave the server running until Ctrl-C once everything is shown.

    Returns:
        What happened, as JSON values.

    Raises:
        MissingClientError: The `openai` package is not installed.
        ChildError: A child process failed.
        AdminError: The traces did not reach the store.
    """
    if find_spec("openai") is None:
        raise MissingClientError
    started = time.monotonic()
    stage.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as running:
        models_url = _start_models(stage, running)
        served = _start_proxy(stage, running, models_url, port, admin_port)
        captured = _talk(stage, served)
        traces = _export(stage)
        folder = _process(stage, models_url)
        report = _show_dataset(stage, folder)
        evaluations = _evaluate(stage, models_url)
        exported = _export_version(stage, folder)

        duration_ms = round((time.monotonic() - started) * 1000)
        files = {"traces.jsonl": traces, **dataset_files.written(folder), "openai": exported}
        show.step(stage.console, f"Done in {duration_ms / 1000:.1f} s. The files:")
        show.files(stage.console, files)
        if keep:
            _wait_for_ctrl_c(stage.console, served)
    return {
        "data_dir": str(stage.data_dir),
        **captured,
        "intake": report["intake"],
        "funnel": report["funnel"],
        "base_model_performance": report["base_model_performance"],
        "evaluations": evaluations,
        "files": {name: str(path) for name, path in files.items()},
        "duration_ms": duration_ms,
    }


def _start_models(stage: Stage, running: ExitStack) -> str:
    show.step(stage.console, "1. Start scripted models and, in front of them, the proxy")
    _, address = running.enter_context(
        children.serving(
            "scripted models",
            [sys.executable, "-m", "tracemill.demo.scripted_models", "--port", "0"],
            ready=MODELS_READY,
            log=stage.logs / "models.log",
        )
    )
    show.note(stage.console, f"models  {address}")
    return address


def _start_proxy(stage: Stage, running: ExitStack, models_url: str, port: int, admin_port: int) -> Served:
    ports = ["--port", str(port), "--admin-port", str(admin_port)]
    _, line = running.enter_context(
        children.serving(
            "tracemill serve",
            [*TRACEMILL, "serve", "--upstream", models_url, *ports, "--data-dir", str(stage.data_dir)],
            ready=SERVE_READY,
            log=stage.logs / "serve.log",
            environment=stage.environment,
            folder=stage.logs,  # away from any tracemill.yaml of the folder we were started in
        )
    )
    words = line.split()
    served = Served(words[words.index("proxy") + 1], words[words.index("admin") + 1])
    show.note(stage.console, f"proxy   {served.base_url}, the application's base_url")
    show.note(stage.console, f"admin   {served.admin_url}")
    return served


def _talk(stage: Stage, served: Served) -> dict[str, Any]:
    from tracemill.demo.workload import hold_conversations  # needs the extra

    show.step(stage.console, "2. Customers talk to a banking assistant through the openai client")
    held = scripts()
    before = admin_api.stats(served.admin_url)["traces"]
    with show.progress(stage.console, "conversations held", len(held)) as advance:
        tally = asyncio.run(hold_conversations(served.base_url, held, at_once=_CUSTOMERS, on_held=advance))
    stats = admin_api.wait_until_stored(served.admin_url, before + tally.calls, deadline_s=_STORED_WITHIN_S)
    show.note(
        stage.console,
        f"the application made {tally.calls} calls: {tally.answered} answered, {tally.left} left mid-stream, "
        f"{tally.refused} refused by the upstream",
    )
    show.counts(stage.console, "traces in the store, by outcome", stats["by_outcome"])
    calls = {"answered": tally.answered, "left": tally.left, "refused": tally.refused}
    return {"calls": calls, "traces_before": before, "traces": stats["traces"], "by_outcome": stats["by_outcome"]}


def _export(stage: Stage) -> Path:
    show.step(stage.console, "3. Export the traces")
    target = stage.data_dir / "traces.jsonl"
    command = ["export", "--data-dir", str(stage.data_dir), "--format", "traces", "-o", str(target)]
    log = stage.logs / "export.log"
    children.run_task("tracemill export", [*TRACEMILL, *command], log=log, environment=stage.environment)
    with target.open("rb") as lines:
        show.note(stage.console, f"{sum(1 for _ in lines)} lines")
    return target


def _process(stage: Stage, models_url: str) -> Path:
    show.step(stage.console, "4. Make a dataset: filter, convert, split, relabel, score the base model")
    job = stage.data_dir / "job"
    job.mkdir(mode=0o700, exist_ok=True)
    description, config = job / "job_description.json", job / "config.yaml"
    description.write_text(json.dumps({"task_description": TASK_DESCRIPTION}, indent=2) + "\n")
    config.write_text(yaml.safe_dump(_CONFIG, sort_keys=False))
    folder = dataset_files.free_folder(stage.data_dir)
    job_files = ["--job-description", str(description), "--config", str(config)]
    source = ["--from-store", "--data-dir", str(stage.data_dir), "--out", str(folder)]
    children.run_task(
        "tracemill process",
        [*TRACEMILL, "process", *source, *job_files, "--dataset", DATASET],
        log=stage.logs / "process.log",
        environment={**stage.environment, "TRACEMILL_TEACHER_BASE_URL": models_url},
        is_shown=stage.console.is_terminal,
    )
    return folder


def _show_dataset(stage: Stage, folder: Path) -> dict[str, Any]:
    report = dataset_files.read_report(folder)
    came_in = {name: count for name, count in report["intake"].items() if isinstance(count, int)}
    show.counts(stage.console, "came in", came_in)
    show.funnel(stage.console, report["funnel"])
    show.counts(stage.console, "rows", report["rows"])
    show.counts(
        stage.console, "base model performance on test, against the new labels", report["base_model_performance"]
    )
    show.step(stage.console, "5. Three rows, before and after relabelling")
    show.rows(stage.console, dataset_files.changed_rows(folder, limit=_SHOWN_ROWS))
    return report


def _evaluate(stage: Stage, models_url: str) -> dict[str, float]:
    show.step(stage.console, "6. It is frozen as a version of a dataset: ask other models its test rows, and compare")
    log = stage.logs / "evaluate.json"
    log.unlink(missing_ok=True)
    others = ["--baseline", "recorded", "--judge", ARBITER]
    models = [argument for name in CONTENDERS for argument in ("--model", name)]
    children.run_task(
        "tracemill evaluate",
        [*TRACEMILL, "evaluate", DATASET, *models, *others, "--data-dir", str(stage.data_dir), "--json"],
        log=log,
        environment={**stage.environment, "TRACEMILL_TEACHER_BASE_URL": models_url},
    )
    found = dataset_files.read_evaluations(log)
    show.note(stage.console, f"{found.version}, {found.rows} test rows")
    show.counts(stage.console, f"{found.metric}, 1 is best; recorded is the base model", found.scores)
    return dict(found.scores)


def _export_version(stage: Stage, folder: Path) -> Path:
    show.step(stage.console, "7. Export it for training")
    target = folder / "openai"
    command = ["datasets", "export", DATASET, "--format", "openai", "-o", str(target)]
    children.run_task(
        "tracemill datasets export",
        [*TRACEMILL, *command, "--data-dir", str(stage.data_dir)],
        log=stage.logs / "export.log",
        environment=stage.environment,
    )
    show.note(stage.console, f"in OpenAI's format, with a card: {', '.join(sorted(p.name for p in target.iterdir()))}")
    return target


def _wait_for_ctrl_c(console: Console, served: Served) -> None:
    show.step(
        console, f"The server keeps running: base_url {served.base_url}, admin {served.admin_url}. Ctrl-C ends it."
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        show.note(console, "stopping")


_CONFIG: Mapping[str, Any] = {
    "base": {"task": "tool-calling-closed-book", "teacher_model_name": ARBITER, "llm_num_parallel_requests": 8},
    "trace_processing": {
        "observation_format": "openai_messages",
        "convert_to_single_turn": True,
        "relabel": True,
        "teacher_model_name": ARBITER,
        "relabelling_committee_models": list(COMMITTEE),
        "num_traces_as_training_base": 20,
        "num_traces_as_testing_base": 10,
    },
    "evaluation": {"llm_as_a_judge_model_name": ARBITER},
}
