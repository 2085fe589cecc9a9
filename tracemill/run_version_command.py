"""`tracemill datasets from-run`, `process --dataset` and `datasets rebuild`: versions and the runs behind them."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from processing.datasets.rebuild import Rebuilt
from processing.datasets.rebuild import rebuild as rebuild_version
from processing.datasets.run_version import Made, version_of_run
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.version import Version
from store.datasets.version_json import version_json
from store.job import Job
from tracemill.count_text import counted
from tracemill.dataset_text import version_line
from tracemill.personal_data import find_personal
from tracemill.run_command import BAD_INPUT, DEFAULT_DATA_DIR, AsJson, DataDir, RunName, find_run, run_to_end, usage
from tracemill.terminal_text import one_line

_IDS = 20


def from_run(
    run: RunName,
    name: Annotated[str, typer.Option(help="Name of the dataset.")],
    note: Annotated[str | None, typer.Option(help="A few words that lists show.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Freeze what a run of `tracemill process` made as the next version of a dataset."""
    job = run_to_end(find_run(run, data_dir))
    made = run_to_end(make_version(job, name, note, data_dir))
    told = {**version_json(made.version), "is_new": made.is_new}
    typer.echo(json.dumps(told) if as_json else made_line(made))


def rebuild(
    reference: Annotated[str, typer.Argument(metavar="REF", help="A frozen version: NAME-v3, or NAME for the newest.")],
    as_new: Annotated[
        bool, typer.Option("--as-new", help="Freeze the next version, without the rows that were erased since.")
    ] = False,
    run: Annotated[Path | None, typer.Option(help="Folder of the run that it was made of, where it has moved.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="A file or folder that was uploaded, or prompts of which no copy is kept; may be given several times.",
        ),
    ] = None,
    note: Annotated[str | None, typer.Option(help="With --as-new: a few words that lists show.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Derive a version again from what is kept, asking nobody, and tell whether it is the same; exit code 1 if not.

    After an erasure --as-new makes the next version of the rows that are left.
    """
    if as_new:
        made = run_to_end(_without_erased(reference, note, data_dir))
        typer.echo(json.dumps(version_json(made)) if as_json else version_line(made, None))
        return
    if note is not None:
        usage("--note is the note of a new version and needs --as-new.")
    found = run_to_end(_rebuild(reference, run, files or [], data_dir))
    typer.echo(json.dumps(found.as_json()) if as_json else rebuilt_text(found))
    if not found.is_equal:
        raise typer.Exit(BAD_INPUT)


async def _without_erased(reference: str, note: str | None, data_dir: Path) -> Version:
    async with await DatasetStore.open(data_dir / WORK_FILE) as store:
        version = await store.version(reference, wants="frozen")
        return await store.freeze_without_erased(version, note=note)


async def _rebuild(reference: str, run: Path | None, files: list[Path], data_dir: Path) -> Rebuilt:
    async with await DatasetStore.open(data_dir / WORK_FILE) as store:
        version = await store.version(reference, wants="frozen")
        return await rebuild_version(
            store,
            version,
            data_dir=data_dir,
            environ=os.environ,
            folder=run,
            files=files,
            find_personal=find_personal,
        )


def rebuilt_text(found: Rebuilt) -> str:
    """Write what came of deriving a version again."""
    label = found.version.label
    lines = [f"note: {one_line(note)}" for note in found.notes]
    if found.is_equal:
        return "\n".join([*lines, f"{label} is what its inputs make: {found.hash}"])
    if found.is_equal_but_for_erased:
        what = f"{counted(found.erased, 'row')} made from erased traces; `--as-new` makes the next version without any"
        return "\n".join([*lines, f"{label} is what its inputs make, but for {what}."])
    lines += [f"{label} is not what its inputs make:", f"  hash     {found.version.hash}", f"  rebuilt  {found.hash}"]
    for name, ids in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        more = f" and {len(ids) - _IDS} more" if len(ids) > _IDS else ""
        lines.append(f"  {name:<8} {len(ids):>7}  {', '.join(ids[:_IDS])}{more}".rstrip())
    if found.erased:
        lines.append(f"  {'erased':<8} {found.erased:>7}")
    return "\n".join(lines)


async def require_openable(name: str, data_dir: Path) -> None:
    """Make sure that a version can be made, before anything is paid for it."""
    async with await DatasetStore.open(data_dir / WORK_FILE) as store:
        await store.require_openable(name)


async def make_version(job: Job, name: str, note: str | None, data_dir: Path) -> Made:
    """Freeze what a run made; see `version_of_run`."""
    async with await DatasetStore.open(data_dir / WORK_FILE) as store:
        return await version_of_run(store, job, name, note=note)


def made_line(made: Made) -> str:
    """Write what came of it."""
    line = version_line(made.version, None)
    return line if made.is_new else f"{line} holds just these rows already; there is no further version"
