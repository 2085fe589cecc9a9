"""What ingest really tells while it works through a journal."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.ingest.ingest import run_ingest
from proxy.journal.folder import used_bytes
from proxy.journal.format import EntryKind
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.metrics.counts import Counts
from proxy.metrics.folder import FOLDER_VARIABLE, read_totals
from store.data_files import TRACES_FILE
from store.uuid7 import uuid7
from tests.proxy.ingest.test_ingest import END, journal_in, run_once, write_call
from tests.proxy.journal.calls import BEGIN


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "metrics"
    path.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(path))
    return path


def counters(folder: Path) -> Counts:
    return read_totals(folder).counts


async def test_ingest_counts_what_it_stores_and_sets_aside(folder: Path, tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        for number in range(5):
            await write_call(journal, f"call {number}")
        await journal.append(EntryKind.END, uuid7(), END, b"no beginning")
    await run_once(tmp_path)
    told = counters(folder)
    assert told.counters["tracemill_ingest_traces"] == {(): 5}
    assert told.counters["tracemill_ingest_dead_letters"][("orphan",)] == 1
    assert told.histograms["tracemill_ingest_batch_calls"][()].total == 5
    assert told.gauges == {"tracemill_ingest_lag_seconds": {(): 0.0}, "tracemill_ingest_behind_bytes": {(): 0}}


async def test_while_the_database_is_locked_the_lag_grows(folder: Path, tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        await write_call(journal, "stored")
        stop = asyncio.Event()
        running = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=1 << 20))
        await until(lambda: told_traces(folder) == 1)
        with closing(sqlite3.connect(tmp_path / TRACES_FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            call = {**BEGIN, "started_at": 1_000_000_000.0}
            id_ = uuid7()
            await journal.append(EntryKind.BEGIN, id_, call, b"{}")
            await journal.append(EntryKind.END, id_, END, b"{}")
            await until(lambda: lag_s(folder) > 1_000_000)
            other.execute("ROLLBACK")
        await until(lambda: told_traces(folder) == 2 and lag_s(folder) == 0.0)
        stop.set()
        await running


def test_segments_are_added_up_from_a_place_on(tmp_path: Path) -> None:
    for number, size in ((1, 10), (2, 20), (10, 40)):
        (tmp_path / f"{number:08d}.seg").write_bytes(b"x" * size)
    assert (used_bytes(tmp_path), used_bytes(tmp_path, 2, 5), used_bytes(tmp_path, 11, 0)) == (70, 55, 0)
    assert used_bytes(tmp_path / JOURNAL_FOLDER) == 0


def told_traces(folder: Path) -> float:
    return counters(folder).counters.get("tracemill_ingest_traces", {}).get((), 0)


def lag_s(folder: Path) -> float:
    return counters(folder).gauges.get("tracemill_ingest_lag_seconds", {}).get((), 0.0)


async def until(condition: object, timeout_s: float = 15) -> None:
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)
