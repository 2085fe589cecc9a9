"""A dataset in a store, and a judge on loopback, for tests of curation."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from processing import config_file
from processing.budget import Budget
from processing.datasets.row_form import messages_of, row_of
from processing.model_client import ModelClient
from processing.teachers import Teachers as Askers
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from tests.processing.teachers import Teachers

NAME = "tickets"
KEPT = RowEnd(RowState.KEPT, "upload", "uploaded")
WAITS = RowEnd(RowState.REVIEW, "relabel", "no_quorum")
FAILED = RowEnd(RowState.FAILED, "relabel", "no_candidate")


def row(prompt: str, response: str = "answer", *, end: RowEnd = KEPT, part: Part | None = None, **metadata: Any) -> Row:
    return Row(row_of(messages_of(prompt, response), metadata=metadata), part, end)


async def make_version(store: DatasetStore, rows: Sequence[Row], *, freeze: bool = False) -> Version:
    async with store.birth(NAME, birth=Birth.UPLOAD, manifest={}, freeze=freeze) as born:
        await born.add_rows(rows)
    assert born.version is not None
    return born.version


@asynccontextmanager
async def a_store(folder: Path) -> AsyncIterator[DatasetStore]:
    async with await DatasetStore.open(folder / "work.db") as store:
        yield store


@asynccontextmanager
async def a_judge(store: DatasetStore, teachers: Teachers, budget: Budget | None = None) -> AsyncIterator[Askers]:
    config = config_file.parse({"base": {"task": "chat-completion"}}, source="c")
    async with ModelClient(4, first_wait_s=0.001) as client:
        environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
        yield Askers(client, store, config, environ, budget=budget)


async def ends(store: DatasetStore, version: Version) -> dict[str, RowEnd]:
    """The end of each row by its prompt."""
    found = await store.version(version.label)
    return {str(one.content["prompt"]): one.end async for one in store.rows(found)}


async def states(store: DatasetStore, version: Version) -> dict[str, str]:
    return {prompt: f"{end.state} {end.reason}" for prompt, end in (await ends(store, version)).items()}
