"""`tracemill datasets`: versions of datasets, their rows, and what may be done with them."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, RowState
from store.datasets.version import Progress, Version, read_reference
from store.datasets.version_json import row_json, summary_json, version_json
from store.errors import DatabaseMissingError
from tracemill.count_text import counted
from tracemill.dataset_text import check_text, diff_text, row_line, version_line, version_text
from tracemill.run_command import DEFAULT_DATA_DIR, AsJson, DataDir, fail, run_to_end
from tracemill.run_version_command import from_run, rebuild

_T = TypeVar("_T")
Reference = Annotated[str, typer.Argument(metavar="REF", help="NAME-v3, or NAME for the newest.")]

datasets = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Make, look at, curate, freeze and compare versions of datasets. docs/datasets.md tells what a version is.",
)


@datasets.command("list")
def list_datasets(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List the versions of all datasets."""

    async def listed(store: DatasetStore) -> None:
        found = await store.datasets()
        if as_json:
            typer.echo("".join(json.dumps(summary_json(summary)) + "\n" for summary in found), nl=False)
            return
        there = [version for summary in found for version in await store.versions(summary.name)]
        await _print_lines(store, there)

    async def listed_if_any() -> None:
        with suppress(DatabaseMissingError):
            await _reading(data_dir, listed)

    run_to_end(listed_if_any())


@datasets.command()
def versions(
    name: Annotated[str, typer.Argument(help="Name of a dataset.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the versions of a dataset, the first one first."""

    async def listed(store: DatasetStore) -> None:
        there = await store.versions(name)
        if as_json:
            typer.echo("".join(json.dumps(version_json(one, manifest=False)) + "\n" for one in there), nl=False)
        else:
            await _print_lines(store, there)

    run_to_end(_reading(data_dir, listed))


@datasets.command()
def show(reference: Reference, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show a version: its rows by end and part, its hashes, what made it, and what there is to warn of."""

    async def shown(store: DatasetStore) -> None:
        version = await store.version(reference)
        warnings = version.manifest.get("warnings", []) if version.is_frozen else await store.warnings(version)
        if as_json:
            typer.echo(json.dumps({**version_json(version), "warnings": warnings}))
        else:
            typer.echo(version_text(version, await _progress(store, version), warnings))

    run_to_end(_reading(data_dir, shown))


@datasets.command()
def rows(
    reference: Reference,
    state: Annotated[RowState | None, typer.Option(help="Only rows that ended so.")] = None,
    part: Annotated[Part | None, typer.Option(help="Only rows of this part.")] = None,
    after: Annotated[str | None, typer.Option(help="Begin behind this row_id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to list.")] = 20,
    row: Annotated[str | None, typer.Option(help="Only the row of this id.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List rows of a version by their ids; with --json each whole, with its part, end and hashes."""

    def print_row(found: Row) -> None:
        typer.echo(json.dumps(row_json(found)) if as_json else row_line(found))

    async def listed(store: DatasetStore) -> None:
        version = await store.version(reference)
        if row is not None:
            one = await store.row(version, row)
            if one is None:
                fail(f'{version.label} has no row "{row}", or it was erased.')
            print_row(one)
            return
        async for found in store.rows(version, state=state, part=part, after=after, limit=limit):
            print_row(found)

    run_to_end(_reading(data_dir, listed))


@datasets.command()
def freeze(
    reference: Reference,
    note: Annotated[str | None, typer.Option(help="A few words that lists show.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Freeze the active version: from then on it never changes. One that is frozen stays as it is."""

    async def frozen(store: DatasetStore) -> None:
        dataset, number = read_reference(reference)
        there = [] if number else await store.versions(dataset)
        open_ = [version for version in there if not version.is_frozen]
        version = await store.freeze(open_[0] if open_ else await store.version(reference), note=note)
        if as_json:
            typer.echo(json.dumps(version_json(version)))
        else:
            typer.echo(version_text(version, None, version.manifest.get("warnings", [])))

    run_to_end(_writing(data_dir, frozen))


@datasets.command()
def discard(reference: Reference, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Delete an active version with its rows, to the last byte in the database; decisions about them stay."""

    async def discarded(store: DatasetStore) -> None:
        version = await store.version(reference, wants="active")
        is_clean = await store.discard(version)
        rows = version.counts.entered
        if as_json:
            typer.echo(json.dumps({"discarded": version.label, "rows": rows, "is_clean": is_clean}))
            return
        typer.echo(f"{version.label} is gone with {counted(rows, 'row')}.")
        if not is_clean:
            typer.echo("note: work.db is in use, so bytes of them may stay in it until the next erasure.", err=True)

    run_to_end(_writing(data_dir, discarded))


@datasets.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="REF", help="The earlier version.")],
    second: Annotated[str, typer.Argument(metavar="REF", help="The later one.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Tell which rows one version keeps and another does not, which changed, and which are in another part."""

    async def compared(store: DatasetStore) -> None:
        one, other = await store.version(first), await store.version(second)
        found = await store.diff(one, other)
        if as_json:
            typer.echo(json.dumps({"first": one.label, "second": other.label, **found._asdict()}))
        else:
            typer.echo(diff_text(one, other, found))

    run_to_end(_reading(data_dir, compared))


@datasets.command()
def verify(
    reference: Annotated[str | None, typer.Argument(metavar="[REF]", help="A version. [default: all]")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Derive every hash again and tell which version is damaged; exit code 1 when one is."""

    async def verified(store: DatasetStore) -> bool:
        found, guards = await store.verify(reference)
        if as_json:
            told = [{**one._asdict(), "is_sound": one.is_sound} for one in found]
            typer.echo(json.dumps({"versions": told, "missing_triggers": guards}))
        else:
            typer.echo(check_text(found, guards))
        return not guards and all(one.is_sound for one in found)

    if not run_to_end(_reading(data_dir, verified)):
        raise typer.Exit(1)


datasets.command("from-run")(from_run)
datasets.command("rebuild")(rebuild)


async def _print_lines(store: DatasetStore, there: list[Version]) -> None:
    width = max((len(version.label) for version in there), default=0)
    for version in there:
        typer.echo(version_line(version, await _progress(store, version), width))


async def _progress(store: DatasetStore, version: Version) -> Progress | None:
    return None if version.is_frozen or version.parent is None else await store.progress(version)


async def _reading(data_dir: Path, work: Callable[[DatasetStore], Awaitable[_T]]) -> _T:
    async with await DatasetStore.open_to_read(data_dir / WORK_FILE) as store:
        return await work(store)


async def _writing(data_dir: Path, work: Callable[[DatasetStore], Awaitable[_T]]) -> _T:
    async with await DatasetStore.open(data_dir / WORK_FILE) as store:
        return await work(store)
