"""Changes in a journal: on the disk before they are promised, read back as they were asked for."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.journal.change_writer import ChangeWriter
from proxy.journal.disk import Disk
from proxy.journal.format import EntryKind, encode
from proxy.journal.reader import JournalReader
from store.change import Change, ChangeKind
from store.uuid7 import uuid7

ASKED = datetime(2026, 1, 2, 3, 4, 5, 250000, tzinfo=UTC)


def change(body: bytes = b"{}") -> Change:
    return Change(uuid7(), ChangeKind.FEEDBACK, ASKED, "anna", body)


def read(root: Path) -> list[object]:
    return [each for folder in sorted(root.iterdir()) for each in JournalReader(folder).read()]


class CountingDisk(Disk):
    """Counts flushes, and fails or writes short where it is told to."""

    def __init__(self) -> None:
        self.flushed = 0
        self.short_writes: list[int] = []
        self.fails = False

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        if self.fails:
            raise OSError(errno.EIO, "no")
        self.flushed += 1
        os.fdatasync(fd)

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        size = self.short_writes.pop(0) if self.short_writes and len(data) > 16 else len(data)
        return os.write(fd, data[:size])


def test_changes_come_back_as_they_were_asked_for(tmp_path: Path) -> None:
    asked = [change(b'{"a":"\\ud800"}'), change(b"\x00\xff" * 300_000), change()]
    with ChangeWriter(tmp_path) as writer:
        assert read(tmp_path) == []
        writer.write(*asked[:2])
        writer.write(asked[2])
        assert read(tmp_path) == asked
        assert writer.waiting_bytes() > 600_000
        folder = next(tmp_path.iterdir())
        assert JournalReader(folder).is_writer_alive()
        assert (folder / "00000001.seg").stat().st_mode & 0o777 == 0o600
    assert not JournalReader(folder).is_writer_alive()


def test_a_change_is_on_the_disk_when_it_is_promised(tmp_path: Path) -> None:
    disk = CountingDisk()
    with ChangeWriter(tmp_path, disk=disk) as writer:
        for number in (1, 2, 3):
            writer.write(change())
            assert disk.flushed == number
        disk.fails = True
        with pytest.raises(OSError, match="no"):
            writer.write(change())
        disk.fails = False
        last = change()
        writer.write(last)
    assert read(tmp_path)[-1] == last


def test_a_write_that_is_cut_short_is_done_again_in_another_file(tmp_path: Path) -> None:
    disk = CountingDisk()
    disk.short_writes = [200]
    asked = [change(b"a" * 50), change(b"b" * 500)]
    with ChangeWriter(tmp_path, disk=disk) as writer:
        writer.write(*asked)
    reader = JournalReader(next(tmp_path.iterdir()))
    assert list(reader.finish()) == asked
    assert [letter.reason for letter in reader.take_dead_letters()] == ["torn"]


def test_long_journals_are_cut_into_files_that_can_be_deleted(tmp_path: Path) -> None:
    with ChangeWriter(tmp_path) as writer:
        for _ in range(40):
            writer.write(change(b"x" * 1_000_000))
    assert len(list(tmp_path.glob("*/*.seg"))) == 3
    assert len(read(tmp_path)) == 40


def test_a_kind_of_a_later_version_is_kept_aside(tmp_path: Path) -> None:
    with ChangeWriter(tmp_path) as writer:
        writer.write(change())
        mark = writer._mark
    path = next(tmp_path.glob("*/*.seg"))
    with path.open("ab") as file:
        file.write(encode(mark, EntryKind.CHANGE, uuid7(), {"kind": "fly", "asked_at": 1.0, "by": None}, b"text"))
    reader = JournalReader(path.parent)
    assert len(list(reader.finish())) == 1
    (letter,) = reader.take_dead_letters()
    assert (letter.reason, letter.body) == ("unknown_change", b"text")
    assert "'fly'" in letter.detail
