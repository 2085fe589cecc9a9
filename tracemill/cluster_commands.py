"""`tracemill clusters`: traces grouped by what their users want, and datasets made of the groups."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from processing.budget import Budget
from processing.clusters.build import LEAST_TRACES, OFFLINE, BuildSettings, Built
from processing.clusters.build import build_clusters as run_build
from processing.clusters.intent import intent_of, read_message
from processing.clusters.promotion import Promoted, PromoteSettings, promote_clusters
from processing.model_client import ModelClient
from processing.model_config import load_models
from processing.teachers import Teachers
from store.clusters.cluster import UNCLUSTERED, UNCLUSTERED_NAME, Build, Cluster, Member
from store.clusters.cluster_store import ClusterStore
from store.clusters.opening import openings
from store.data_files import TRACES_FILE, WORK_FILE
from store.datasets.dataset_store import DatasetStore
from store.errors import DatabaseMissingError
from store.filter import parse_filter
from store.traces import TraceReader
from tracemill.cluster_text import (
    build_text,
    cluster_text,
    clusters_json,
    list_text,
    member_lines,
    members_json,
    promoted_text,
)
from tracemill.progress_lines import show_progress
from tracemill.run_command import DEFAULT_DATA_DIR, PARTIAL, AsJson, DataDir, MaxCalls, MaxCost, fail, run_to_end, usage

_MOST_DIGITS = 15

clusters = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Group traces by what their users want, and make datasets of the groups.",
)
ClusterId = Annotated[str, typer.Argument(help=f"Id of the cluster, or {UNCLUSTERED_NAME}.")]


@clusters.command()
def build(
    where: Annotated[str | None, typer.Option(help="Only traces that this filter selects.")] = None,
    embedder: Annotated[
        str, typer.Option(help=f"{OFFLINE}, or a model of the configuration that makes embeddings.")
    ] = OFFLINE,
    k: Annotated[str, typer.Option("--k", help="How many clusters to make; auto finds out.")] = "auto",
    name_model: Annotated[str | None, typer.Option(help="A model that names the clusters.")] = None,
    config: Annotated[Path | None, typer.Option(help="Where models are asked, YAML or JSON.")] = None,
    min_traces: Annotated[int, typer.Option(min=1, help="A group with fewer is no cluster.")] = LEAST_TRACES,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn by chance.")] = 0,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Group traces anew; clusters that are found again keep their ids.

    Without further options no model is asked and nothing leaves this machine.
    """
    settings = BuildSettings(where, embedder, _count(k), name_model, min_traces, seed)

    async def built() -> tuple[Built, list[str]]:
        async with (
            _traces(data_dir) as reader,
            await ClusterStore.open(data_dir / WORK_FILE) as store,
        ):
            with show_progress(is_quiet=as_json) as progress:
                if settings.embedder == OFFLINE and settings.name_model is None:
                    return await run_build(store, reader, settings, progress=progress), []
                configured = load_models(config)
                async with ModelClient(configured.parallel) as client:
                    budget = Budget(max_calls, max_cost)
                    teachers = Teachers(client, store, configured, os.environ, budget=budget)
                    return await run_build(store, reader, settings, teachers, progress=progress), teachers.problems()

    found, problems = run_to_end(built())
    if as_json:
        typer.echo(json.dumps({**_built_json(found), "problems": problems}))
    else:
        typer.echo("\n".join([build_text(found), *problems]))


@clusters.command("list")
def list_(
    retired: Annotated[bool, typer.Option("--retired", help="Also clusters that are no more.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the clusters of the last build, the largest first."""

    async def listed() -> tuple[Build | None, list[Cluster]]:
        async with _store(data_dir) as store:
            return await store.last_build(), await store.clusters(with_retired=retired)

    last, found = run_to_end(listed())
    if last is None:
        fail("there are no clusters yet. Make them: tracemill clusters build")
    typer.echo(json.dumps(clusters_json(last, found)) if as_json else list_text(last, found))


@clusters.command()
def show(
    cluster_id: ClusterId,
    examples: Annotated[int, typer.Option(min=0, max=1000, help="How many members to show.")] = 10,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show one cluster: what was counted, its words, and the members nearest its middle."""
    id_ = _id(cluster_id)

    async def shown() -> tuple[Cluster | None, list[Member], dict[str, str]]:
        async with _store(data_dir) as store:
            cluster = None if id_ == UNCLUSTERED else await store.cluster(id_)
            members = await store.members(id_, limit=examples)
        async with _traces(data_dir) as reader:
            return cluster, members, await _texts(members, reader)

    cluster, members, texts = run_to_end(shown())
    if as_json:
        told = {"id": UNCLUSTERED} if cluster is None else clusters_json(None, [cluster])["clusters"][0]
        typer.echo(json.dumps({**told, "examples": members_json(members, texts)}))
    else:
        lines = [] if cluster is None else [cluster_text(cluster)]
        typer.echo("\n".join([*lines, *member_lines(members, texts)]))


@clusters.command()
def promote(
    cluster_ids: Annotated[list[int], typer.Argument(help="Ids of the clusters; one is one coherent task.")],
    name: Annotated[str, typer.Option(help="Of the dataset; NAME-v1 insists that this will be its version 1.")],
    where: Annotated[str | None, typer.Option(help="Only members that this filter selects.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="So many rows, of the members nearest the middle.")] = None,
    pick: Annotated[str, typer.Option(help="Ids of traces to take, with commas between.")] = "",
    exclude: Annotated[str, typer.Option(help="Ids of traces to leave out, with commas between.")] = "",
    add: Annotated[
        bool, typer.Option("--add", help="Add to the active version, or to the rows of the newest frozen one.")
    ] = False,
    note: Annotated[str | None, typer.Option(help="A few words that lists show.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of clusters: their calls as rows, with the answers as they were recorded.

    Calls that failed, were cut short or refused end as dropped, each with its reason.
    """
    settings = PromoteSettings(tuple(cluster_ids), name, where, rows, _ids(pick), _ids(exclude), add, note)

    async def promoted() -> Promoted:
        async with (
            _traces(data_dir) as reader,
            _store(data_dir) as store,
            await DatasetStore.open(data_dir / WORK_FILE) as datasets,
        ):
            with show_progress(is_quiet=as_json) as progress:
                return await promote_clusters(datasets, store, reader, settings, progress=progress)

    found = run_to_end(promoted())
    if as_json:
        version = found.version
        told: dict[str, Any] = {
            "version": None if version is None else version.label,
            **found.as_json(),
            "warnings": found.warnings,
        }
        typer.echo(json.dumps(told))
    else:
        typer.echo(promoted_text(found))
    if any(state == "failed" for state, _ in found.ends):
        raise typer.Exit(PARTIAL)


@asynccontextmanager
async def _traces(data_dir: Path) -> AsyncIterator[TraceReader]:
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        yield reader


@asynccontextmanager
async def _store(data_dir: Path) -> AsyncIterator[ClusterStore]:
    try:
        opened = await ClusterStore.open_to_read(data_dir / WORK_FILE)
    except DatabaseMissingError:
        fail(f"{data_dir} has no clusters yet. Make them: tracemill clusters build")
    async with opened as store:
        yield store


async def _texts(members: list[Member], reader: TraceReader) -> dict[str, str]:
    """What the users of some members said, by trace; those that are gone are left out."""
    found: dict[str, str] = {}
    for start in range(0, len(members), 200):
        listed = ", ".join(str(member.trace_id) for member in members[start : start + 200])
        async for batch in openings(reader, parse_filter(f"id in ({listed})"), read_message):
            found.update((str(opening.trace_id), intent_of(opening.turns)) for opening in batch)
    return found


def _id(text: str) -> int:
    if text in (UNCLUSTERED_NAME, str(UNCLUSTERED)):
        return UNCLUSTERED
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        usage(f'"{text}" is no id of a cluster; expected a number, or {UNCLUSTERED_NAME}.')
    return int(text)


def _count(k: str) -> int | None:
    if k == "auto":
        return None
    if not k.isdecimal() or not 0 < int(k) <= 1000:
        usage(f'--k is "{k}"; expected auto, or a number from 1 to 1000.')
    return int(k)


def _ids(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _built_json(built: Built) -> dict[str, Any]:
    return {
        **clusters_json(built.build, built.clusters),
        "new": list(built.new),
        "retired": list(built.retired),
        "moved": built.moved,
        "unnamed": built.unnamed,
    }
