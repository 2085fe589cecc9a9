"""A job that is killed between making a version and saying so finds its version when it is started again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.datasets.dataset_store import DatasetStore
from store.datasets.review import open_to_curate
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Birth
from tracemill.job_kinds.attempt import as_members
from tracemill.job_kinds.job_datasets import JobDatasets

END = RowEnd(RowState.KEPT, "upload", "uploaded")


def row(number: int) -> Row:
    messages = [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": "Yes", "weight": 1}]
    return Row({"row_id": f"r{number}", "messages": messages, "metadata": {}}, None, END)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobDatasets]:
    async with await JobDatasets.open(tmp_path / "work.db") as opened:
        opened.run_id, opened.made = "job-1", tmp_path / "made.json"
        yield opened


async def born(store: DatasetStore, name: str, *rows: Row, add: bool = False) -> None:
    async with store.birth(name, birth=Birth.UPLOAD, manifest={"source": "x"}, add=add) as birth:
        await birth.add_rows(rows)
        birth.manifest = {"source": "x", "counts": len(rows)}


async def test_a_version_bears_the_id_of_its_job_and_is_found_by_it(store: JobDatasets) -> None:
    assert await store.version_made("d") is None
    await born(store, "d-v1", row(1))
    made = await store.version_made("d-v1")
    assert made is not None
    assert (made.label, made.manifest) == ("d-v1", {"source": "x", "counts": 1, "job": "job-1"})
    store.made.unlink()
    assert await store.version_made("d") == made
    store.run_id = "job-2"
    assert await store.version_made("d") is None


async def test_rows_that_were_added_to_a_version_of_others_are_not_added_twice(store: JobDatasets) -> None:
    async with await DatasetStore.open(store._path) as others:
        await born(others, "d", row(1))
    await born(store, "d", row(2), add=True)
    made = await store.version_made("d")
    assert made is not None
    assert (made.counts.kept, "job" in made.manifest) == (2, False)


async def test_a_birth_that_fails_leaves_no_note(store: JobDatasets) -> None:
    async def cancelled() -> None:
        async with store.birth("d", birth=Birth.UPLOAD, manifest={}) as birth:
            await birth.add_rows([row(1)])
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await cancelled()
    assert await store.version_made("d") is None
    assert not store.made.exists()


async def test_curating_goes_on_with_the_version_that_an_earlier_attempt_opened(store: JobDatasets) -> None:
    async with await DatasetStore.open(store._path) as others:
        await born(others, "d", row(1))
        await others.freeze(await others.version("d"))
    assert await store.to_curate("d-v1") == "d-v1"
    opened = await open_to_curate(store, "d-v1")
    assert await store.to_curate("d-v1") == opened.label == "d-v2"
    assert (await open_to_curate(store, await store.to_curate("d-v1"))).id == opened.id


def test_options_are_named_as_members_and_what_cannot_be_stored_is_written_out() -> None:
    said = "--max-cost cannot be kept; freeze it, or add to it with --add. Column \udc89 -- what?"
    assert as_members(said) == "max_cost cannot be kept; freeze it, or add to it with add. Column \\udc89 -- what?"
