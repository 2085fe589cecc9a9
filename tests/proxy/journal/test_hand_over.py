"""The event loop hands over once a turn and never waits for the disk; who waits is let go in time."""

import asyncio
import threading
from pathlib import Path

import pytest

from proxy.journal.format import EntryKind
from proxy.journal.reader import JournalReader
from store.uuid7 import uuid7
from tests.proxy.journal.calls import BEGIN, END, only_folder, open_journal, read_all, wait_until, write_call
from tests.proxy.journal.disks import FailingDisk, ShortDisk, StuckDisk, WatchedDisk

PATIENCE_S = 0.1


async def test_what_is_appended_in_one_turn_is_written_with_one_system_call(tmp_path: Path) -> None:
    disk = WatchedDisk()
    journal = open_journal(tmp_path, disk=disk)
    await write_call(journal)
    written = disk.calls["write"]
    await asyncio.gather(*(write_call(journal) for _ in range(50)))
    assert disk.calls["write"] - written <= 2, "one for the BEGINs and ENDs of all, at most one more"
    journal.close()
    assert len(read_all(tmp_path)[0]) == 51


async def test_a_stuck_write_holds_an_answer_for_100_ms_and_the_next_ones_not_at_all(tmp_path: Path) -> None:
    disk = StuckDisk("write")
    journal = open_journal(tmp_path, disk=disk)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await write_call(journal)
    first_s = loop.time() - began
    assert PATIENCE_S * 0.9 <= first_s < PATIENCE_S + 0.5
    assert journal.is_stuck
    assert journal.is_failing
    began = loop.time()
    for _ in range(20):
        await write_call(journal)
    assert loop.time() - began < 1.0, "each answer waited for the disk, not only the first"
    disk.go.set()
    await wait_until(lambda: journal.pending_bytes == 0 and not journal.is_failing)
    assert journal.entries_written == 42
    journal.close()
    assert len(read_all(tmp_path)[0]) == 21


async def test_waiters_of_a_later_turn_get_their_own_100_ms(tmp_path: Path) -> None:
    """One timer serves them all: it must neither forget the later ones nor let them go with the first."""
    disk = StuckDisk("write")
    journal = open_journal(tmp_path, disk=disk)
    loop = asyncio.get_running_loop()
    released: dict[str, float] = {}

    async def answer(name: str) -> None:
        began = loop.time()
        await write_call(journal)
        released[name] = loop.time() - began

    first = asyncio.create_task(answer("first"))
    await asyncio.to_thread(disk.reached.wait, 5)
    await asyncio.sleep(PATIENCE_S / 2)
    await asyncio.gather(first, asyncio.create_task(answer("later")))
    assert all(PATIENCE_S * 0.9 <= waited_s < PATIENCE_S + 0.5 for waited_s in released.values()), released
    disk.go.set()
    journal.close()


async def test_an_append_is_done_when_its_entry_is_down(tmp_path: Path) -> None:
    disk = StuckDisk("write")
    journal = open_journal(tmp_path, disk=disk)
    trace_id = uuid7()
    journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN)
    written = journal.append(EntryKind.END, trace_id, END)
    await asyncio.to_thread(disk.reached.wait, 5)
    assert not written.done()
    disk.go.set()
    async with asyncio.timeout(5):
        await written
    assert journal.entries_written == 2
    (call,) = JournalReader(only_folder(tmp_path)).read()
    assert call.trace_id == trace_id
    journal.close()


async def test_who_waits_no_longer_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """A client that leaves cancels the task that waits for its entry."""
    disk = StuckDisk("write")
    journal = open_journal(tmp_path, disk=disk)
    given_up = journal.append(EntryKind.BEGIN, uuid7(), BEGIN)
    written = journal.append(EntryKind.BEGIN, uuid7(), BEGIN)
    given_up.cancel()
    disk.go.set()
    async with asyncio.timeout(5):
        await written
    assert given_up.cancelled()
    journal.close()


@pytest.mark.parametrize("is_on_the_loop", [True, False])
async def test_closing_writes_what_was_appended_in_the_same_turn(tmp_path: Path, is_on_the_loop: bool) -> None:
    """A worker that stops ends its calls and closes the journal in one breath."""
    journal = open_journal(tmp_path)
    ids = {uuid7() for _ in range(20)}
    for trace_id in ids:
        journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN)
        journal.append_nowait(EntryKind.END, trace_id, END)
    if is_on_the_loop:
        journal.close()
    else:
        await asyncio.to_thread(journal.close)
    assert {call.trace_id for call in read_all(tmp_path)[0]} == ids
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("journal-")]


async def test_a_disk_without_room_at_the_start_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """A worker that is started again on a full disk must serve: its folder is made when there is room."""
    disk = FailingDisk("mkdir", 1, times=4)
    journal = open_journal(tmp_path, disk=disk)
    trace_id = await write_call(journal)
    await wait_until(lambda: journal.pending_bytes == 0)
    journal.close()
    assert [call.trace_id for call in read_all(tmp_path)[0]] == [trace_id]


@pytest.mark.parametrize("size", range(0, 900, 37))
async def test_a_write_cut_anywhere_costs_and_doubles_nothing(tmp_path: Path, size: int) -> None:
    journal = open_journal(tmp_path, disk=ShortDisk(2, size))  # the first one is the segment's head
    ids = await asyncio.gather(*(write_call(journal) for _ in range(3)))
    await wait_until(lambda: journal.pending_bytes == 0)
    journal.close()
    calls, letters = read_all(tmp_path)
    assert sorted(call.trace_id for call in calls) == sorted(ids)
    assert all((call.request_body, call.response_body) == (b"ask", b"answer") for call in calls)
    assert {letter.reason for letter in letters} <= {"torn"}
