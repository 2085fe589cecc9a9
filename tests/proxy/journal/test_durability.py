"""Each level of durability holds what it says before an answer is let go, and no level waits longer than 100 ms."""

import asyncio
from pathlib import Path

import pytest

from proxy.journal import writer_thread
from proxy.journal.format import EntryKind
from store.uuid7 import uuid7
from tests.proxy.journal.calls import BEGIN, END, only_folder, open_journal, read_all, wait_until, write_call
from tests.proxy.journal.disks import FailingDisk, StuckDisk, WatchedDisk


async def test_at_level_none_nobody_waits_for_anything(tmp_path: Path) -> None:
    disk = StuckDisk("write")
    journal = open_journal(tmp_path, disk=disk, durability="none")
    trace_id = uuid7()
    journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN)
    assert journal.append(EntryKind.END, trace_id, END).done()
    journal.append_nowait(EntryKind.BEGIN, uuid7(), BEGIN)
    disk.go.set()
    journal.close()
    assert len(read_all(tmp_path)[0]) == 2


async def test_at_level_process_the_page_cache_is_enough(tmp_path: Path) -> None:
    disk = StuckDisk("fdatasync")
    journal = open_journal(tmp_path, disk=disk, durability="process")
    async with asyncio.timeout(5):
        await write_call(journal)
        await asyncio.to_thread(disk.reached.wait, 5)
        for _ in range(20):
            await write_call(journal)
    assert disk.done["fdatasync"] == 0
    assert not journal.is_stuck
    disk.go.set()
    journal.close()


async def test_at_level_power_the_answer_waits_for_the_flush(tmp_path: Path) -> None:
    disk = StuckDisk("fdatasync")
    journal = open_journal(tmp_path, disk=disk, durability="power")
    trace_id = uuid7()
    journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN)
    written = journal.append(EntryKind.END, trace_id, END)
    await asyncio.to_thread(disk.reached.wait, 5)
    assert journal.entries_written == 2
    assert not written.done(), "let go with its bytes in the page cache alone"
    disk.go.set()
    async with asyncio.timeout(5):
        await written
    assert disk.done["fdatasync"] >= 1
    assert disk.done["fsync"] >= 1, "the file's name is not on the disk: the file would be lost with its bytes"
    journal.close()


async def test_at_level_power_each_answer_is_behind_a_flush_that_began_after_its_write(tmp_path: Path) -> None:
    class OrderedDisk(WatchedDisk):
        """Notes how much was written when the last flush that has ended began."""

        written_at_flush = 0
        _seen = 0

        def before(self, name: str) -> None:
            if name == "fdatasync":
                self._seen = journal.entries_written

        def after(self, name: str) -> None:
            if name == "fdatasync":
                self.written_at_flush = self._seen

    disk = OrderedDisk()
    journal = open_journal(tmp_path, disk=disk, durability="power")
    appended = 0

    async def call() -> None:
        nonlocal appended
        trace_id = uuid7()
        journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN)
        written = journal.append(EntryKind.END, trace_id, END)
        appended += 2
        mine = appended
        await written
        assert journal.is_stuck or disk.written_at_flush >= mine

    for _ in range(30):
        await asyncio.gather(*(call() for _ in range(10)))
    assert disk.calls["fdatasync"] < 150, "a flush for each answer: they are not grouped"
    journal.close()


async def test_at_level_power_a_stuck_flush_holds_an_answer_for_100_ms(tmp_path: Path) -> None:
    disk = StuckDisk("fdatasync")
    journal = open_journal(tmp_path, disk=disk, durability="power")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await write_call(journal)
    assert 0.09 <= loop.time() - began < 0.6
    assert journal.is_stuck
    began = loop.time()
    for _ in range(20):
        await write_call(journal)
    assert loop.time() - began < 1.0, "each answer waited for the disk, not only the first"
    disk.go.set()
    await wait_until(lambda: not journal.is_failing)
    journal.close()
    assert len(read_all(tmp_path)[0]) == 21


@pytest.mark.parametrize("name", ["fdatasync", "fsync"])
@pytest.mark.parametrize("level", ["process", "power"])
async def test_after_a_flush_that_failed_the_file_is_never_written_again(tmp_path: Path, name: str, level: str) -> None:
    """A second flush of the same file may say yes to pages that the first one threw away."""
    disk = FailingDisk(name, 1)
    journal = open_journal(tmp_path, disk=disk, durability=level)
    first = await write_call(journal)
    await asyncio.to_thread(disk.failed.wait, 5)
    await wait_until(lambda: journal.sync_failures == 1)
    segment = only_folder(tmp_path) / "00000001.seg"
    size = segment.stat().st_size
    second = await write_call(journal)
    assert segment.stat().st_size == size
    await wait_until(lambda: not journal.is_failing)
    journal.close()
    assert [call.trace_id for call in read_all(tmp_path)[0]] == [first, second]


async def test_a_disk_that_flushes_again_is_noticed_without_a_call(tmp_path: Path) -> None:
    """Who refuses calls while capture fails would otherwise refuse them for ever."""
    disk = FailingDisk("fdatasync", 1, times=2)
    journal = open_journal(tmp_path, disk=disk)
    await write_call(journal)
    await wait_until(lambda: journal.is_failing)
    await wait_until(lambda: not journal.is_failing)
    assert journal.sync_failures == 2
    journal.close()


async def test_a_segment_that_is_full_is_flushed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written between the last flush and the change of segments must not wait for the kernel's 30 s."""
    monkeypatch.setattr(writer_thread, "SEGMENT_BYTES", 2000)

    class SyncedSizes(WatchedDisk):
        def __init__(self) -> None:
            super().__init__()
            whole = self.fdatasync
            self.sizes: dict[int, int] = {}

            def fdatasync(fd: int) -> None:
                before = self.fstat(fd)
                whole(fd)
                self.sizes[before.st_ino] = before.st_size

            self.fdatasync = fdatasync  # type: ignore[assignment]

    disk = SyncedSizes()
    journal = open_journal(tmp_path, disk=disk)
    for _ in range(10):
        await write_call(journal, b"x" * 900)
    journal.close()
    segments = list(only_folder(tmp_path).glob("*.seg"))
    assert len(segments) > 3
    assert {path.stat().st_ino: path.stat().st_size for path in segments} == disk.sizes
