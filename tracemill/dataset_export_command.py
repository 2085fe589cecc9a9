"""`tracemill datasets export`: a version as the files that others train on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from processing.exports.export import export_version
from processing.exports.formats import FORMATS
from processing.exports.wanted import Exported, Wanted
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part
from tracemill.count_text import counted
from tracemill.dataset_commands import Reference, datasets
from tracemill.run_command import DEFAULT_DATA_DIR, AsJson, DataDir, run_to_end, usage
from tracemill.terminal_text import one_line


@datasets.command("export")
def export_dataset(
    reference: Reference,
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}; docs/exports.md has each.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A folder to make; or a single file, by its end: .jsonl, .csv, .parquet."),
    ] = None,
    part: Annotated[Part | None, typer.Option(help="Only these rows; those not split yet count as train.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say what would become of every row.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A row that the format cannot hold is an error.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that stands there.")] = False,
    without_erased: Annotated[
        bool, typer.Option("--without-erased", help="Write the rest of a version of which rows were erased.")
    ] = False,
    job_description: Annotated[
        Path | None, typer.Option(help="For distil: the task, where the version was made without one.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="For distil: a configuration in place of the version's.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write a version as the files of a format: rows of each part, a card, and a manifest with their hashes.

    What the format cannot hold is counted by reason, before anything is written, and listed beside the files.
    """
    if format_ not in FORMATS:
        usage(f'--format: "{one_line(format_, 40)}" is none. There are {", ".join(FORMATS)}.')
    if output is None and not check:
        usage("give --output, or --check to write nothing.")
    wanted = Wanted(
        format=format_,
        out=output,
        check=check,
        part=part,
        strict=strict,
        force=force,
        without_erased=without_erased,
        job_description=job_description,
        config=config,
    )
    exported = run_to_end(_export(data_dir, reference, wanted))
    if as_json:
        typer.echo(json.dumps(exported.as_json()))
    else:
        _tell(exported)


async def _export(data_dir: Path, reference: str, wanted: Wanted) -> Exported:
    async with await DatasetStore.open_to_read(data_dir / WORK_FILE) as store:
        return await export_version(store, reference, wanted)


def _tell(exported: Exported) -> None:
    manifest = exported.manifest
    label, parts = manifest["version"]["label"], manifest["parts"]
    counted = ", ".join(f"{part} {_rows(found)}" for part, found in parts.items()) or "no rows"
    if exported.out is None:
        typer.echo(f"{label} as {manifest['format']} would hold {counted}.")
    else:
        typer.echo(f"Wrote {label} as {manifest['format']} to {exported.out}: {counted}.")
    _tell_counts("Left out", manifest["left_out"])
    _tell_counts("Not carried", manifest["not_carried"])
    if exported.left_out_file is not None:
        typer.echo(f"Which rows were left out, and why: {exported.left_out_file}")
    for note in (*exported.notes, *manifest["warnings"]):
        typer.echo(f"note: {one_line(note)}", err=True)


def _rows(found: Mapping[str, Any]) -> str:
    rows = counted(found["rows"], "row")
    return rows if found["rows"] == found["lines"] else f"{rows} in {counted(found['lines'], 'line')}"


def _tell_counts(title: str, counted: Mapping[str, int]) -> None:
    if counted:
        typer.echo(f"{title}: " + ", ".join(f"{name} {count}" for name, count in counted.items()))
