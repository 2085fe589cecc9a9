"""From the journal to the store: everything once, whatever stops ingest and whatever a call holds."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.ingest import ingest as ingest_module
from proxy.ingest.ingest import run_ingest
from proxy.journal.format import EntryKind
from proxy.journal.raw_call import RawCall
from proxy.journal.writer import JOURNAL_FOLDER, Journal
from store.data_files import TRACES_FILE
from store.errors import DatabaseMissingError
from store.traces import TraceReader, TraceWriter
from store.uuid7 import uuid7
from tests import chat
from tests.proxy.journal.calls import BEGIN

END = {"outcome": "completed", "status": 200, "headers": [["content-type", "application/json"]], "duration_ms": 5.0}


@asynccontextmanager
async def journal_in(data_dir: Path) -> AsyncIterator[Journal]:
    journal = Journal(data_dir / JOURNAL_FOLDER, max_pending_bytes=1 << 24, max_disk_bytes=1 << 30)
    try:
        yield journal
    finally:
        await asyncio.to_thread(journal.close)


async def write_call(journal: Journal, text: str, body: bytes | None = None) -> UUID:
    trace_id = uuid7()
    request = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    answer = body or json.dumps(chat.completion(chat.text(text.upper()))).encode()
    journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN, request)
    await journal.append(EntryKind.END, trace_id, END, answer)
    return trace_id


async def run_once(data_dir: Path) -> None:
    """Start ingest and tell it to stop at once: it owes everything that was written before."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_ingest(data_dir, stop, max_decoded_bytes=1 << 24))
    await asyncio.sleep(0)
    stop.set()
    await task


async def stored_ids(data_dir: Path) -> list[UUID]:
    reader = await TraceReader.open(data_dir / TRACES_FILE)
    try:
        return [trace.id async for trace in reader.traces()]
    finally:
        await reader.close()


async def dead_letters(data_dir: Path) -> list[Any]:
    reader = await TraceReader.open(data_dir / TRACES_FILE)
    try:
        return [letter async for letter in reader.dead_letters()]
    finally:
        await reader.close()


async def wait_until(look: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await look():
            await asyncio.sleep(0.01)


async def test_a_stop_stores_everything_that_was_written_before_it(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        written = [await write_call(journal, f"call {n}") for n in range(500)]
        await run_once(tmp_path)
        assert await stored_ids(tmp_path) == written


async def test_a_call_still_open_at_a_restart_is_stored_once_when_it_ends(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        open_id = uuid7()
        journal.append_nowait(EntryKind.BEGIN, open_id, BEGIN, b'{"messages":[]}')
        first = [await write_call(journal, f"first {n}") for n in range(3)]
        await run_once(tmp_path)
        assert await stored_ids(tmp_path) == first
        await journal.append(EntryKind.END, open_id, END, b"{}")
        await run_once(tmp_path)
        await run_once(tmp_path)
    assert sorted(await stored_ids(tmp_path)) == sorted([open_id, *first])
    assert await dead_letters(tmp_path) == []


async def test_a_finished_writers_folder_goes_away(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        written = await write_call(journal, "last words")
    await run_once(tmp_path)
    assert await stored_ids(tmp_path) == [written]
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []


async def test_a_call_that_nobody_foresaw_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = ingest_module.derive

    def stumble(call: RawCall, *, max_decoded_bytes: int) -> Any:
        if b"poison" in call.request_body:
            raise KeyError(call.request_body.decode())
        return real(call, max_decoded_bytes=max_decoded_bytes)

    monkeypatch.setattr(ingest_module, "derive", stumble)
    async with journal_in(tmp_path) as journal:
        before = await write_call(journal, "before")
        poison = await write_call(journal, "poison")
        after = await write_call(journal, "after")
        await run_once(tmp_path)
    assert await stored_ids(tmp_path) == [before, after]
    (letter,) = await dead_letters(tmp_path)
    assert (letter.reason, letter.trace_id) == ("derive_failed", poison)
    assert b"poison" in letter.body
    assert "poison" not in caplog.text, "a log line quotes the call"


@pytest.mark.parametrize("deleted", [f"{TRACES_FILE}*", TRACES_FILE])
async def test_a_database_that_is_deleted_is_made_again_and_said(
    tmp_path: Path, deleted: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite goes on writing a file that has no name any more, and the journal would be deleted for it."""
    stop = asyncio.Event()
    async with journal_in(tmp_path) as journal:
        running = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=1 << 20))
        written = [await write_call(journal, "before")]

        async def is_stored() -> bool:
            with suppress(DatabaseMissingError):
                return await stored_ids(tmp_path) == written
            return False

        await wait_until(is_stored)
        for path in tmp_path.glob(deleted):
            path.unlink()
        written.append(await write_call(journal, "after"))
        await wait_until(is_stored)
        stop.set()
        await running
    assert f"{TRACES_FILE}: was deleted, moved or replaced" in caplog.text


async def test_a_second_ingest_waits_and_takes_over(tmp_path: Path) -> None:
    holder = await TraceWriter.open(tmp_path / TRACES_FILE)
    stop = asyncio.Event()
    async with journal_in(tmp_path) as journal:
        waiting = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=1 << 20))
        written = await write_call(journal, "patience")
        await asyncio.sleep(0)
        assert not waiting.done()
        await holder.close()

        async def is_stored() -> bool:
            return await stored_ids(tmp_path) == [written]

        await wait_until(is_stored)
        stop.set()
        await waiting


async def test_a_rotten_byte_costs_its_own_call_only(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        written = [await write_call(journal, f"call {n}") for n in range(10)]
    (segment,) = (tmp_path / JOURNAL_FOLDER).glob("*/*.seg")
    data = bytearray(segment.read_bytes())
    at = data.index(b"CALL 4")
    data[at] ^= 1
    segment.write_bytes(bytes(data))
    await run_once(tmp_path)
    stored = await stored_ids(tmp_path)
    assert sorted(stored) == sorted(written), "the call whose END is rotten is kept as interrupted"
    reader = await TraceReader.open(tmp_path / TRACES_FILE)
    hurt = await reader.trace(written[4])
    await reader.close()
    assert hurt is not None
    assert (hurt.outcome.value, hurt.replies) == ("interrupted", ())
    assert [letter.reason for letter in await dead_letters(tmp_path)] == ["bad_crc"]
