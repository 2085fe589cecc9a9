"""`tracemill review`: a person decides about the rows that are worth the time."""

import getpass
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from processing.datasets.review_selection import DEFAULT_LIMIT, DEFAULT_SEED, select_for_review
from store import json_text
from store.data_files import WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.review import Queued, queue
from store.datasets.version import Version
from tracemill.count_text import counted
from tracemill.dataset_commands import Reference
from tracemill.review.decision_file import apply_lines, line_of, write_lines
from tracemill.review.keyboard import Keyboard
from tracemill.review.screen import Screen
from tracemill.review.session import ReviewSession, summary
from tracemill.run_command import DEFAULT_DATA_DIR, AsJson, DataDir, fail, run_to_end, usage


def review(
    reference: Reference,
    limit: Annotated[
        int | None, typer.Option(help=f"Most rows to choose. [default: as last time, else {DEFAULT_LIMIT}]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=f"Decides which rows are drawn. [default: as last time, else {DEFAULT_SEED}]")
    ] = None,
    who: Annotated[
        str | None, typer.Option(envvar="TRACEMILL_REVIEWER", help="Who decides. [default: your login name]")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write the rows that wait into this file, to be decided outside.")
    ] = None,
    apply: Annotated[
        Path | None, typer.Option(help="Apply the decisions in this file, made from --export; all or none.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Go through the rows of the active version that are worth a person's time, with single keys.

    Chosen are rows that wait for a person, on which the committee hardly agreed or that it changed, and those near the
    judge's threshold, one of each group of near duplicates; a tenth is drawn at random, to estimate how many kept rows
    are good. Each decision is kept at once, and carried onto later versions. docs/curation.md tells more.
    """
    if export is not None and apply is not None:
        usage("give one of --export and --apply.")
    if apply is not None and (limit is not None or seed is not None):
        usage("--limit and --seed choose rows; --apply takes those of the file.")
    is_outside = as_json or export is not None or apply is not None
    if not is_outside and not (sys.stdin.isatty() and sys.stdout.isatty()):
        usage("review needs a terminal for its keys. Without one: --export FILE, decide there, and --apply FILE.")
    person = _person(who)

    async def reviewed() -> None:
        async with await DatasetStore.open(data_dir / WORK_FILE) as store:
            if apply is not None:
                await _apply(store, reference, apply, person, as_json=as_json)
                return
            version, queued = await select_for_review(store, reference, limit=limit, seed=seed)
            if export is not None:
                _export(export, version, queued, as_json=as_json)
            elif as_json:
                typer.echo(b"".join(json_text.dumps(line_of(one)) + b"\n" for one in queued), nl=False)
            else:
                with Keyboard() as keys:
                    screen = Screen(sys.stdout)
                    await ReviewSession(store, version, queued, who=person, screen=screen, keys=keys).run()

    run_to_end(reviewed())


async def _apply(store: DatasetStore, reference: str, path: Path, who: str, *, as_json: bool) -> None:
    version = await store.version(reference, wants="active")
    counts = await apply_lines(path, store, version, who)
    if as_json:
        typer.echo(json.dumps({"version": version.label, "who": who, **counts}))
    else:
        typer.echo(f"{path.name}: {counted(sum(counts.values()), 'decision')} by {who}")
        typer.echo(summary(await queue(store, version), version))


def _export(path: Path, version: Version, queued: list[Queued], *, as_json: bool) -> None:
    write_lines(path, queued)
    waiting = sum(one.decision is None for one in queued)
    if as_json:
        typer.echo(json.dumps({"version": version.label, "file": str(path), "rows": waiting}))
    else:
        typer.echo(
            f"{path}: {counted(waiting, 'row')} of {version.label}. Write accept, edit, reject or skip as the decision "
            f"of each, then: tracemill review {version.label} --apply {path}"
        )


def _person(who: str | None) -> str:
    if who is not None and who.strip():
        return who.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        fail(f"nobody is logged in under a name (uid {os.getuid()}), so say who decides: --who NAME.")
