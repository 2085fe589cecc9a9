"""`tracemill datasets upload`: a dataset out of a file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from processing.datasets.data_set import Format
from processing.datasets.mapping import FieldMapping, read_map
from processing.datasets.row_split import DEFAULT_SEED
from processing.datasets.upload import UploadSettings
from processing.datasets.upload import upload as run_upload
from processing.datasets.upload_report import UploadReport
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, RowState
from tracemill.count_text import counted
from tracemill.dataset_commands import datasets
from tracemill.run_command import DEFAULT_DATA_DIR, PARTIAL, AsJson, DataDir, run_to_end, usage
from tracemill.terminal_text import one_line

_SHOWN = 10
_SHOWN_COLUMNS = 40
_WIDTH = 200
_DEFAULT_SHARE = 0.2
_TOLD_EVERY = 10_000

_Source = Annotated[
    Path,
    typer.Argument(help="A JSON Lines, JSON, CSV, TSV or Parquet file, or a folder of a Hugging Face dataset."),
]
_Map = Annotated[
    str, typer.Option("--map", help="What the columns are: prompt=question,response=answer,metadata.topic=tag.")
]
_Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Whether a CSV file names its columns; told by looking.")
]
_TestFraction = Annotated[
    float | None, typer.Option(help=f"With --split: share that goes to test. [default: {_DEFAULT_SHARE}]")
]
_Add = Annotated[
    bool, typer.Option("--add", help="Add to the active version, or to the rows of the newest frozen one.")
]


@datasets.command()
def upload(
    path: _Source,
    name: Annotated[str, typer.Option(help="Of the dataset; NAME-v1 insists that this will be its version 1.")],
    map_: _Map = "",
    format_: Annotated[Format, typer.Option("--format", help="What the file is.")] = Format.AUTO,
    subset: Annotated[str | None, typer.Option(help="Which one, where a folder's card describes several.")] = None,
    header: _Header = None,
    part: Annotated[Part | None, typer.Option(help="Put all rows there.")] = None,
    split: Annotated[bool, typer.Option("--split", help="Share the rows out between train and test.")] = False,
    test_fraction: _TestFraction = None,
    seed: Annotated[int, typer.Option(help="With --split: decides who goes where.")] = DEFAULT_SEED,
    add: _Add = False,
    note: Annotated[str | None, typer.Option(help="A few words that lists show.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A record that cannot be a row is an error.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of a file: its columns are guessed, and what they are taken for is printed first.

    Every record ends as a kept row, a dropped duplicate, or as failed with its line and the reason.
    """
    if (test_fraction is not None) and not split:
        usage("--test-fraction needs --split.")
    if split and part is not None:
        usage("give one of --split and --part.")

    settings = UploadSettings(
        format=format_,
        subset=subset,
        has_header=header,
        part=part,
        strict=strict,
        test_fraction=_DEFAULT_SHARE if split and test_fraction is None else test_fraction,
        seed=seed,
    )

    async def uploaded() -> UploadReport:
        told = replace(settings, told=read_map(map_))
        async with await DatasetStore.open(data_dir / WORK_FILE) as store:
            if as_json:
                return await run_upload(path, name, store, told, add=add, note=note)
            return await run_upload(
                path, name, store, told, add=add, note=note, mapped=_tell_mapping, done=_tell_progress
            )

    report = run_to_end(uploaded())
    typer.echo(json.dumps(report.as_json()) if as_json else _text(report))
    if report.count(RowState.FAILED):
        raise typer.Exit(PARTIAL)


def _tell_mapping(mapping: FieldMapping, source: str) -> None:
    lines = mapping.lines()
    shown = [f"  {one_line(line, _WIDTH)}" for line in lines[:_SHOWN_COLUMNS]]
    more = [f"  … and {len(lines) - _SHOWN_COLUMNS:,} more"] if len(lines) > _SHOWN_COLUMNS else []
    typer.echo("\n".join([f"{one_line(source)} is read as", *shown, *more]))


def _tell_progress(count: int) -> None:
    if count % _TOLD_EVERY == 0:
        typer.echo(f"{count:,} records", err=True)


def _text(report: UploadReport) -> str:
    counts = report.counts()
    label = "" if report.version is None else report.version.label
    ends = ", ".join(f"{counts[state]:,} {state}" for state in ("kept", "dropped", "failed"))
    lines = [f"{label}: {counted(report.entered, 'record')}: {ends}"]
    lines += [one_line(f"  {one.place}: {one.state}, {one.reason}: {one.detail}") for one in report.problems[:_SHOWN]]
    if report.count(RowState.DROPPED) + report.count(RowState.FAILED) > _SHOWN:
        lines.append(f"  … more: tracemill datasets rows {label} --state failed, or --state dropped")
    parts = counts["parts"] if report.split is None else report.split.rows
    lines.append("  parts: " + ", ".join(f"{count:,} {name}" for name, count in parts.items()))
    lines += [one_line(f"  warning: {warning}") for warning in report.warnings]
    return "\n".join(lines)
