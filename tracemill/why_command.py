"""`tracemill why` and `tracemill where`: from a row back to its trace, and from a trace to its rows."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import typer

from processing.errors import InputError, ProcessingError
from processing.kept_inputs import KeptInputs, load_inputs
from processing.lineage import Entry, find_rows, read_lineage, rows_of_trace
from processing.lineage_calls import RowCalls, calls_behind
from processing.sources import Intake, from_store
from store.data_files import TRACES_FILE, WORK_FILE
from store.datasets.row_search import FoundRow
from store.datasets.version import Version
from store.erasing.erased_trace import ErasedTrace, erased_traces
from store.errors import DatabaseMissingError, OlderSchemaError, StoreError
from store.run_list import KnownRun, list_runs
from store.traces import TraceReader
from store.work import WorkStore
from tracemill.run_command import DEFAULT_DATA_DIR, AsJson, DataDir, fail, find_run, run_to_end
from tracemill.version_rows import VersionRows, version_row_json
from tracemill.why_text import version_row_text, where_text, why_text

_LEAST = 4
"""Characters of an id that is looked for by its beginning."""
_SHOWN = 5

RunOption = Annotated[
    str | None, typer.Option("--run", help="Run id, name, or folder. [default: all runs, the latest first]")
]


class _Found(NamedTuple):
    """Entries of one run."""

    run: KnownRun
    entries: list[Entry]


def why(
    row: Annotated[
        str, typer.Argument(help="Id of a row, or of whatever stands in dropped, failed or review; or its beginning.")
    ],
    run: RunOption = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Tell how a row came about: its trace, scores, candidates, votes, judge, and the line of the file it stands in.

    Then the versions of datasets that have it, and what people decided about it. A row that no run has made is told
    from the newest version that has it. Nobody is asked.
    """
    _require_length(row)
    versions = VersionRows(data_dir)
    in_versions = [] if run is not None else run_to_end(versions.beginning(row))
    runs = run_to_end(_runs(run, data_dir, is_needed=not in_versions))
    holding = _look(runs, lambda folder: find_rows(folder, row), is_needed=not in_versions)
    if not holding and in_versions:
        _why_version(versions, row, in_versions, data_dir, as_json=as_json)
        return
    if not holding:
        fail(
            f'no row of {_those(runs)} has an id that begins with "{row}". `tracemill where TRACE` finds rows by trace.'
        )
    found = holding[0]
    if len(found.entries) > 1:
        names = ", ".join(f"{entry.id} ({entry.kind})" for entry in found.entries[:_SHOWN])
        more = f" and {len(found.entries) - _SHOWN} more" if len(found.entries) > _SHOWN else ""
        fail(f'"{row}" begins the ids of {names}{more}. Give more of it.')
    told = run_to_end(_why(found.run, found.entries[0], data_dir))
    told["also_in"] = [one.run.name for one in holding[1:]]
    of_row = [one for one in in_versions if one[1].row_id == found.entries[0].id]
    told["versions"] = [version_row_json(*one) for one in of_row]
    told["decisions"] = run_to_end(versions.decisions(*of_row[0])) if of_row else []
    typer.echo(json.dumps(told) if as_json else why_text(told))


def where(
    trace: Annotated[
        str, typer.Argument(help="Id of a trace or its beginning, or the line of a file: traces.jsonl:17.")
    ],
    run: RunOption = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Tell which runs, versions of datasets and rows hold a trace: what to make again when it has to go.

    A trace that was erased is told as such.
    """
    _require_length(trace)
    in_versions = [] if run is not None else run_to_end(VersionRows(data_dir).of_trace(trace))
    erased = run_to_end(_erased(trace, data_dir))
    is_needed = not in_versions and not erased
    runs = run_to_end(_runs(run, data_dir, is_needed=is_needed))
    holding = _look(runs, lambda folder: rows_of_trace(folder, trace), is_needed=is_needed)
    names = {one.run.run_id for one in holding}
    loaded = [one for one in runs if one.run_id not in names and _has_loaded(Path(one.out_dir), trace.lower())]
    told = {
        "trace": trace,
        "runs": [{**_run_json(one.run), "rows": [_entry_json(entry) for entry in one.entries]} for one in holding]
        + [{**_run_json(one), "rows": []} for one in loaded],
        "versions": [version_row_json(*one) for one in in_versions],
        "erased": [one.as_json() for one in erased],
    }
    if not told["runs"] and is_needed:
        fail(f'{_those(runs)} {"holds" if len(runs) == 1 else "hold"} nothing of a trace "{trace}".')
    typer.echo(json.dumps(told) if as_json else where_text(told))


def _why_version(
    versions: VersionRows, row: str, found: list[tuple[Version, FoundRow]], data_dir: Path, *, as_json: bool
) -> None:
    """Tell a row that no run's folder holds, from the newest version that has it."""
    names = list(dict.fromkeys(one.row_id for _, one in found))
    if len(names) > 1:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        fail(f'"{row}" begins the ids of {", ".join(names[:_SHOWN])}{more}. Give more of it.')
    version, place = found[0]
    told = run_to_end(versions.tell(version, place))
    told = {
        "kind": "row",
        "id": place.row_id,
        **told,
        "traces": run_to_end(_with_store(told["traces"], data_dir)),
        "versions": [version_row_json(*one) for one in found],
        "decisions": run_to_end(versions.decisions(version, place)),
    }
    typer.echo(json.dumps(told) if as_json else version_row_text(told))


async def _with_store(traces: list[str], data_dir: Path) -> list[dict[str, Any]]:
    return [{"trace_id": one, "is_stored": await _is_stored(one, data_dir)} for one in traces]


async def _erased(beginning: str, data_dir: Path) -> list[ErasedTrace]:
    with suppress(DatabaseMissingError, OlderSchemaError):
        async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
            return await reader.look(lambda db: erased_traces(db, beginning, _SHOWN))
    return []


def _require_length(beginning: str) -> None:
    if len(beginning) < _LEAST:
        fail(f'"{beginning}" is too short to look for: give at least {_LEAST} characters.')


async def _runs(name: str | None, data_dir: Path, *, is_needed: bool) -> list[KnownRun]:
    try:
        runs = await list_runs(data_dir / WORK_FILE)
    except DatabaseMissingError:
        runs = []
    if name is not None:
        job = await find_run(name, data_dir)
        return [one for one in runs if one.run_id == job.run_id]
    if not runs and is_needed:
        fail(f"{data_dir / WORK_FILE} knows no run. Name another --data-dir.")
    return runs


def _look(runs: list[KnownRun], find: Any, *, is_needed: bool) -> list[_Found]:  # noqa: ANN401 - folder to entries
    """Look into each run whose folder is there; say which cannot be looked into, an error when that is all there is."""
    found, problems = [], []
    for one in runs:
        if (len(runs) > 1 or not is_needed) and not Path(one.out_dir).is_dir():
            continue
        try:
            entries = find(Path(one.out_dir))
        except InputError as exc:
            problems.append(exc)
            continue
        if entries:
            found.append(_Found(one, entries))
    if problems and not found and is_needed:
        fail(str(problems[0]))
    for problem in problems:
        typer.echo(f"note: {problem}", err=True)
    return found


def _has_loaded(folder: Path, trace: str) -> bool:
    """Whether a run has read a trace of which nothing is left in its rows: it said the same as another one."""
    try:
        ids = load_inputs(folder).trace_ids or ()
    except InputError:
        return False
    return any(one.startswith(trace) for one in ids)


async def _why(run: KnownRun, entry: Entry, data_dir: Path) -> dict[str, Any]:
    folder = Path(run.out_dir)
    line = _line(folder, entry)
    problem = None
    calls = RowCalls()
    try:
        kept = load_inputs(folder)
        stored = await _stored(kept, data_dir)
        async with await WorkStore.open_to_read(data_dir / WORK_FILE) as work:
            calls = await calls_behind(entry, kept, work, os.environ, stored=stored)
    except (ProcessingError, StoreError) as exc:
        problem = f"The calls behind it cannot be told: {exc}"
    examples = [one for one in read_lineage(folder) if entry.kind == "conversation" and one.conversation_id == entry.id]
    return {
        "run": _run_json(run),
        **_entry_json(entry),
        "examples": [_entry_json(one) for one in examples if one.kind == "example"],
        "traces": [{"trace_id": one, "is_stored": await _is_stored(one, data_dir)} for one in entry.trace_ids],
        "scores": _scores(calls),
        "row": line,
        "judge": calls.judge,
        "calls": calls.calls,
        "problem": problem,
    }


def _scores(calls: RowCalls) -> dict[str, Any] | None:
    one = calls.scores
    if one is None:
        return None
    call = None if one.call is None else one.call.hex()
    return {"relevance": one.relevance, "coherence": one.coherence, "reason": one.reason, "call": call}


def _line(folder: Path, entry: Entry) -> dict[str, Any] | None:
    """The line of the file as it stands there now; None where there is none, or it is another's."""
    if entry.file is None or entry.line is None:
        return None
    try:
        with (folder / entry.file).open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == entry.line:
                    found = json.loads(line)
                    return found if isinstance(found, dict) and _is_of(found, entry) else None
    except (OSError, ValueError):
        return None
    return None


def _is_of(line: dict[str, Any], entry: Entry) -> bool:
    name = line.get("row_id", line.get("id"))
    return name == entry.id or (name is None and entry.file == "unstructured.jsonl")


async def _stored(kept: KeptInputs, data_dir: Path) -> Intake | None:
    if kept.trace_ids is None:
        return None
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        return await from_store(reader, trace_ids=kept.trace_ids)


async def _is_stored(trace_id: str, data_dir: Path) -> bool | None:
    """Whether the store holds a trace; None where there is no store to ask."""
    try:
        wanted = UUID(trace_id)
        async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
            return await reader.trace(wanted) is not None
    except (ValueError, DatabaseMissingError):
        return None


def _run_json(run: KnownRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.name,
        "out_dir": run.out_dir,
        "status": run.status,
        "erased_traces": run.erased_traces,
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__slots__}


def _those(runs: list[KnownRun]) -> str:
    return f"run {runs[0].name}" if len(runs) == 1 else f"the {len(runs)} runs"
