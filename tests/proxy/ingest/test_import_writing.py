"""Imported traces reach the store once, redacted, whoever stores and whenever the import is killed."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from proxy.errors import ImportStalledError
from proxy.ingest.import_writing import ImportWriting, WriteCounts, import_report
from proxy.ingest.ingest import ingest_once, run_ingest
from proxy.journal.change_writer import ChangeWriter
from proxy.journal.folder import used_bytes
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.redaction.category import Category
from proxy.redaction.redactor import Redactor
from store.change import Change, ChangeKind, list_changes
from store.data_files import TRACES_FILE
from store.forgotten import forget_traces
from store.trace import Reply, Trace
from store.trace_code import encode_traces
from store.traces import TraceReader, TraceWriter
from store.uuid7 import uuid7
from tests.store.traces import STARTED_AT, make_trace

MAX = 1 << 20
TakeIn = Callable[[Path], Awaitable[None]]


async def take_in(data_dir: Path) -> None:
    await ingest_once(data_dir, max_decoded_bytes=MAX)


def traces(numbers: Iterable[int], size: int = 10) -> list[Trace]:
    return [
        make_trace(
            number,
            messages=(json.dumps({"role": "user", "content": f"{number} " + "x" * size}).encode(),),
            replies=(Reply(0, b'{"role":"assistant","content":"y"}', "stop"),),
        )
        for number in numbers
    ]


async def write(
    data_dir: Path, found: Iterable[Trace], who_takes_in: TakeIn | None = take_in, max_waiting_bytes: int = 1 << 26
) -> WriteCounts:
    async with ImportWriting(
        data_dir, asked_by="anna", take_in=who_takes_in, max_waiting_bytes=max_waiting_bytes
    ) as writing:
        for trace in found:
            await writing.add(trace)
        await writing.finish(lambda counts: {"stored": counts.stored})
        return writing.counts


async def stored(data_dir: Path) -> list[Trace]:
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        return sorted([trace async for trace in reader.traces()], key=lambda trace: trace.id)


async def test_traces_are_stored_as_they_were_by_the_command_itself_when_nothing_serves(tmp_path: Path) -> None:
    found = traces(range(450))
    assert await write(tmp_path, found) == WriteCounts(stored=450)
    assert await stored(tmp_path) == found
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []


async def test_traces_that_are_there_or_come_twice_are_duplicates(tmp_path: Path) -> None:
    await write(tmp_path, traces(range(300)))
    found = [*traces(range(200, 700)), *traces(range(690, 710))]
    assert await write(tmp_path, found) == WriteCounts(stored=410, duplicates=110)
    assert len(await stored(tmp_path)) == 710


async def test_a_server_stores_what_is_imported_beside_it(tmp_path: Path) -> None:
    stop = asyncio.Event()
    serving = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=MAX))
    found = traces(range(300))
    # The command has a process of its own; here it has a loop of its own.
    counts = await asyncio.to_thread(lambda: asyncio.run(write(tmp_path, found, None)))
    assert counts == WriteCounts(stored=300)
    stop.set()
    await serving
    assert await stored(tmp_path) == found


async def test_the_import_stands_in_the_audit_log(tmp_path: Path) -> None:
    await write(tmp_path, traces(range(3)))
    async with await TraceReader.open(tmp_path / TRACES_FILE) as reader:
        (record,) = await reader.look(list_changes)
    assert (record.kind, record.asked_by, record.result) == (ChangeKind.IMPORT, "anna", {"stored": 3})


async def test_what_waits_in_the_journal_is_bounded_while_ingest_is_behind(tmp_path: Path) -> None:
    """Segments of 16 MiB go when they are read; never is there more than the bound and the segment being written."""
    waiting: list[int] = []

    async def watched(data_dir: Path) -> None:
        waiting.append(sum(used_bytes(folder) for folder in (data_dir / JOURNAL_FOLDER).glob("[!.]*")))
        await take_in(data_dir)

    counts = await write(tmp_path, traces(range(90), size=1_000_000), watched, max_waiting_bytes=20_000_000)
    assert counts == WriteCounts(stored=90)
    assert max(waiting) < 40_000_000


async def test_an_import_that_was_killed_ends_the_same_when_it_is_done_again(tmp_path: Path) -> None:
    found = traces(range(250))
    # Killed between two changes, and once more in the middle of one.
    with ChangeWriter(tmp_path / JOURNAL_FOLDER) as writer:
        writer.write(Change(uuid7(), ChangeKind.TRACES, STARTED_AT, None, encode_traces(found[:200])))
    torn = next((tmp_path / JOURNAL_FOLDER).iterdir()) / "00000001.seg"
    whole = torn.read_bytes()
    torn.write_bytes(whole + whole[16:500])
    assert await write(tmp_path, found) == WriteCounts(stored=50, duplicates=200)
    assert await stored(tmp_path) == found


async def test_imported_traces_are_redacted_as_captured_ones_are(tmp_path: Path) -> None:
    redactor = Redactor([Category.EMAIL], salt=b"salt")

    async def redacting(data_dir: Path) -> None:
        await ingest_once(data_dir, max_decoded_bytes=MAX, redactor=redactor)

    secret = make_trace(
        1, messages=(b'{"role":"user","content":"anna@example.com"}',), tags={"who": "anna@example.com"}
    )
    await write(tmp_path, [secret], redacting)
    (trace,) = await stored(tmp_path)
    assert b"anna" not in encode_traces([trace])
    assert trace == redactor.redact(secret).trace


async def test_a_trace_that_no_column_can_hold_is_set_aside_and_counted(tmp_path: Path) -> None:
    found = [*traces([1, 2]), make_trace(3, status=2**70)]
    assert await write(tmp_path, found) == WriteCounts(stored=2, left_out=1)
    assert [trace.id for trace in await stored(tmp_path)] == [UUID(int=1), UUID(int=2)]


async def test_a_change_that_cannot_be_read_costs_itself_alone(tmp_path: Path) -> None:
    with ChangeWriter(tmp_path / JOURNAL_FOLDER) as writer:
        bodies = [encode_traces(traces([1])), b"\x09 later", encode_traces(traces([2]))]
        writer.write(*[Change(uuid7(), ChangeKind.TRACES, STARTED_AT, None, body) for body in bodies])
    await take_in(tmp_path)
    assert len(await stored(tmp_path)) == 2
    async with await TraceReader.open(tmp_path / TRACES_FILE) as reader:
        letters = await reader.look(lambda db: db.execute("SELECT reason FROM dead_letters").fetchall())
    assert [tuple(row) for row in letters] == [("unknown_change",)]


async def test_a_store_that_another_program_holds_is_waited_for(tmp_path: Path) -> None:
    """Whoever holds the writer's lock does the storing; when it lets go, the command does."""
    holder = await TraceWriter.open(tmp_path / TRACES_FILE)
    writing = asyncio.create_task(write(tmp_path, traces([1])))
    async with asyncio.timeout(5):
        while not list((tmp_path / JOURNAL_FOLDER).glob("*/*.seg")):
            await asyncio.sleep(0.01)
    assert not writing.done()
    await holder.close()
    assert await writing == WriteCounts(stored=1)


async def test_erased_traces_are_left_out_and_waited_for_no_longer(tmp_path: Path) -> None:
    await write(tmp_path, [])
    with closing(sqlite3.connect(tmp_path / TRACES_FILE)) as db:
        forget_traces(db, [trace.id for trace in traces(range(3))], 1)
        db.commit()
    assert await write(tmp_path, traces(range(4))) == WriteCounts(stored=1, left_out=3)
    assert await write(tmp_path, traces(range(3))) == WriteCounts(left_out=3)


async def test_a_server_that_stores_nothing_is_not_waited_for_without_end(tmp_path: Path) -> None:
    writing = ImportWriting(tmp_path, asked_by=None, take_in=None, patience_s=0.2)
    async with await TraceWriter.open(tmp_path / TRACES_FILE), writing:
        for trace in traces(range(3)):
            await writing.add(trace)
        with pytest.raises(ImportStalledError, match="nothing of what waits there was stored"):
            await writing.finish(lambda _: {})
        assert writing.is_written
    await take_in(tmp_path)
    assert len(await stored(tmp_path)) == 3


def test_the_report_adds_up_over_files() -> None:
    one = {"lines": 4, "records": 3, "traces": 1, "joined": 1, "rejected": {"not_json": 1}}
    report = import_report([one, one], WriteCounts(stored=1, duplicates=1))
    assert (report["records"], report["rejected"], report["reasons"]) == (6, 2, {"not_json": 2})
    assert report["records"] == sum(report[name] for name in ("stored", "duplicates", "left_out", "joined", "rejected"))


@pytest.mark.parametrize("counts", [None])
def test_a_report_without_writing_has_no_counts_of_the_store(counts: None) -> None:
    report = import_report([], counts)
    assert (report["stored"], report["duplicates"], report["left_out"], report["records"]) == (None, None, None, 0)
