"""A journal begins a new file when it is asked to, though no call comes, and what was read of the old one goes."""

from datetime import UTC, datetime
from pathlib import Path

from proxy.journal import change_writer
from proxy.journal.change_writer import ChangeWriter
from proxy.journal.format import EntryKind
from proxy.journal.reader import JournalReader
from proxy.journal.rolling import JournalFiles
from store.change import Change, ChangeKind
from store.uuid7 import uuid7
from tests.proxy.journal.calls import BEGIN, END, only_folder, open_journal, wait_until, write_call


def asked() -> Change:
    return Change(uuid7(), ChangeKind.ERASE, datetime.now(UTC), None, b'{"user":"Jane"}')


async def test_an_idle_journal_begins_a_new_file_and_the_old_one_can_go(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path / "journal")
    assert files.are_gone(files.begin_anew())
    journal = open_journal(tmp_path / "journal")
    try:
        await write_call(journal)
        open_call = uuid7()
        await journal.append(EntryKind.BEGIN, open_call, BEGIN, b"still open")
        folder = only_folder(tmp_path / "journal")
        old = files.begin_anew()
        await wait_until(lambda: (folder / "00000002.seg").exists() and not (folder / "roll").exists())
        reader = JournalReader(folder)
        assert len(list(reader.read())) == 1
        reader.delete_read_segments(reader.position)
        # A call that goes on has its beginning there.
        assert not files.are_gone(old)
        await journal.append(EntryKind.END, open_call, END, b"")
        assert len(list(reader.read())) == 1
        reader.delete_read_segments(reader.position)
        assert files.are_gone(old)
        await write_call(journal)
        assert len(list(reader.read())) == 1
    finally:
        journal.close()


async def test_who_asks_for_changes_leaves_no_file_behind_once_nothing_more_is_asked(tmp_path: Path) -> None:
    writer = ChangeWriter(tmp_path)
    writer.write(asked())
    (folder,) = tmp_path.iterdir()
    reader = JournalReader(folder)
    assert reader.is_writer_alive()
    await wait_until(lambda: not reader.is_writer_alive(), change_writer._IDLE_S + 10)
    assert len(list(reader.finish())) == 1
    writer.write(asked())
    assert len(list(tmp_path.iterdir())) == 2
    writer.close()
