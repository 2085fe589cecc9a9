"""The journal survives what happens to processes and files: torn tails, rotten bytes, dead writers, stuck disks."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.journal import writer_thread
from proxy.journal.call_entries import call_entries, read_call
from proxy.journal.format import SEGMENT_HEAD_SIZE, SEGMENT_MAGIC, Damage, Entry, EntryKind, encode, read_entries
from proxy.journal.reader import JournalReader
from store.trace import JournalPosition, Outcome
from store.uuid7 import uuid7
from tests.proxy.journal.calls import BEGIN, END, only_folder, open_journal, write_call

MARK = b"\x01mark\xff\x00\x02"
entries = st.lists(
    st.tuples(st.sampled_from(EntryKind), st.uuids(), st.dictionaries(st.text(max_size=5), st.integers(0, 9)),
              st.binary(max_size=60)),
    max_size=6,
)  # fmt: skip


@given(entries)
def test_what_is_encoded_reads_back(items: list[tuple[EntryKind, UUID, dict[str, int], bytes]]) -> None:
    data = b"".join(encode(MARK, *item) for item in items)
    found = list(read_entries(MARK, data, 100))
    assert [
        (entry.kind, entry.trace_id, entry.meta, entry.body) for entry in found if isinstance(entry, Entry)
    ] == items
    assert [entry.offset for entry in found] == [100 + end for end in [0, *(e.end - 100 for e in found)][: len(found)]]


@given(entries, st.data())
def test_damage_costs_only_the_entries_it_touches(
    items: list[tuple[EntryKind, UUID, dict[str, int], bytes]], data: st.DataObject
) -> None:
    """A checksum per file would throw everything away for one bit (fluent-bit #2475)."""
    pieces = [encode(MARK, *item) for item in items]
    whole = bytearray(b"".join(pieces))
    if not whole:
        return
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    ends = [sum(len(piece) for piece in pieces[: n + 1]) for n in range(len(pieces))]
    hit = next(n for n, end in enumerate(ends) if at < end)
    found = [item for item in read_entries(MARK, bytes(whole), 0) if isinstance(item, Entry)]
    expected = [item for n, item in enumerate(items) if n != hit]
    assert [(entry.kind, entry.trace_id, entry.meta, entry.body) for entry in found] == expected


def test_a_body_that_looks_like_an_entry_is_not_one() -> None:
    """A client can write anything into a body; without the mark it could forge a trace behind a damaged entry."""
    forged = encode(b"guessing", EntryKind.BEGIN, uuid7(), BEGIN, b"forged")
    outer = bytearray(encode(MARK, EntryKind.BEGIN, uuid7(), BEGIN, forged))
    outer[20] ^= 1
    assert [item for item in read_entries(MARK, bytes(outer), 0) if isinstance(item, Entry)] == []


def test_an_entry_that_is_still_being_written_is_waited_for() -> None:
    first, second = (
        encode(MARK, EntryKind.REQUEST, uuid7(), None, b"a"),
        encode(MARK, EntryKind.END, uuid7(), END, b"b"),
    )
    for cut in range(len(second)):
        found = list(read_entries(MARK, first + second[:cut], 0))
        assert len(found) == 1
        assert not isinstance(found[0], Damage)


async def test_a_call_comes_out_as_it_went_in(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    trace_id = uuid7()
    journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN, b"re")
    journal.append_nowait(EntryKind.REQUEST, trace_id, None, b"quest")
    journal.append_nowait(EntryKind.RESPONSE, trace_id, None, b"an")
    await journal.append(EntryKind.END, trace_id, END, b"swer")
    (call,) = JournalReader(only_folder(tmp_path)).read()
    assert (call.trace_id, call.request_body, call.response_body) == (trace_id, b"request", b"answer")
    assert (call.outcome, call.status, call.ttft_ms) == (Outcome.COMPLETED, 200, 1.5)
    assert call.request_headers == (("content-type", "application/json"),)
    journal.close()


async def test_a_reader_that_starts_again_misses_nothing_and_forgets_what_is_done(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    done = await write_call(journal)
    open_id = uuid7()
    journal.append_nowait(EntryKind.BEGIN, open_id, BEGIN, b"still open")
    later = await write_call(journal)
    reader = JournalReader(only_folder(tmp_path))
    assert [call.trace_id for call in reader.read()] == [done, later]

    again = JournalReader(only_folder(tmp_path), reader.position)
    assert again.may_repeat
    await journal.append(EntryKind.END, open_id, END, b"now")
    assert [(call.trace_id, call.request_body) for call in again.read()] == [
        (later, b"ask"),
        (open_id, b"still open"),
    ]
    assert not again.may_repeat
    await write_call(journal)
    assert not again.may_repeat, "what comes after that was never read before"
    assert len(list(again.read())) == 1
    assert list(JournalReader(only_folder(tmp_path), again.position).read()) == []
    journal.close()


async def test_segments_are_deleted_only_when_nothing_in_them_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_thread, "SEGMENT_BYTES", 2000)
    journal = open_journal(tmp_path)
    open_id = uuid7()
    journal.append_nowait(EntryKind.BEGIN, open_id, BEGIN, b"x" * 3000)
    for _ in range(5):
        await write_call(journal, b"y" * 3000)
    folder = only_folder(tmp_path)
    reader = JournalReader(folder)
    assert len(list(reader.read())) == 5
    reader.delete_read_segments(reader.position)
    assert (folder / "00000001.seg").exists()

    await journal.append(EntryKind.END, open_id, END)
    (last,) = reader.read()
    assert last.request_body == b"x" * 3000
    reader.delete_read_segments(reader.position)
    assert [path.name for path in sorted(folder.glob("*.seg"))] == [f"{reader.position.segment:08d}.seg"]
    journal.close()


WRITER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from proxy.journal.writer import Journal
from proxy.journal.format import EntryKind
from store.uuid7 import uuid7
from tests.proxy.journal.calls import BEGIN, END
async def main():
    journal = Journal(Path(sys.argv[1]), max_pending_bytes=1 << 20, max_disk_bytes=1 << 30)
    answered, cut = uuid7(), uuid7()
    journal.append_nowait(EntryKind.BEGIN, answered, BEGIN, b"answered")
    journal.append_nowait(EntryKind.BEGIN, cut, BEGIN, b"cut")
    await journal.append(EntryKind.ANSWERED, answered, END, b"data: [DONE]")
    print(answered, cut, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_killed_writer_leaves_its_answered_calls_completed_and_the_others_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answered, cut = process.stdout.readline().split()
        reader = JournalReader(only_folder(tmp_path))
        assert reader.is_writer_alive()
        assert list(reader.read()) == []
        process.send_signal(signal.SIGKILL)
    assert not reader.is_writer_alive()
    calls = {str(call.trace_id): call for call in reader.finish()}
    assert calls[answered].outcome is Outcome.COMPLETED
    assert calls[answered].response_body == b"data: [DONE]"
    assert calls[cut].outcome is Outcome.INTERRUPTED
    assert calls[cut].request_body == b"cut"
    assert calls[cut].status is None


async def test_a_torn_tail_is_kept_as_a_dead_letter_and_hurts_nothing_else(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    trace_id = await write_call(journal)
    journal.close()
    segment = only_folder(tmp_path) / "00000001.seg"
    with segment.open("ab") as file:
        file.write(encode(journal.mark, EntryKind.END, uuid7(), END, b"half")[:-3])
    reader = JournalReader(only_folder(tmp_path))
    assert [call.trace_id for call in reader.finish()] == [trace_id]
    (letter,) = reader.take_dead_letters()
    assert letter.reason == "torn"
    assert letter.body.endswith(b"h")


@pytest.fixture
def tiny_disk() -> Iterator[None]:
    """No file of this process may grow past 64 KiB: what a full disk looks like to write(2)."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("tiny_disk")
async def test_a_short_write_goes_on_in_a_new_segment_and_loses_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    written = [await write_call(journal, os.urandom(5000)) for _ in range(30)]
    reader = JournalReader(only_folder(tmp_path))
    assert [call.trace_id for call in reader.read()] == written
    assert {letter.reason for letter in reader.take_dead_letters()} == {"torn"}
    journal.close()


async def test_a_full_journal_holds_nobody_for_long_and_everything_arrives_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_thread, "SEGMENT_BYTES", 2000)
    journal = open_journal(tmp_path, max_disk_bytes=6000)
    loop = asyncio.get_running_loop()
    started = loop.time()
    written = [await write_call(journal, b"x" * 900) for _ in range(20)]
    assert loop.time() - started < 1.0, "each answer waited for the disk, not only the first"
    assert journal.is_stuck
    assert journal.pending_bytes > 0

    reader = JournalReader(only_folder(tmp_path))
    found: list[UUID] = []
    while len(found) < len(written):
        found += [call.trace_id for call in reader.read()]
        reader.delete_read_segments(reader.position)
        await asyncio.sleep(0.01)
    assert found == written
    assert journal.pending_bytes == 0
    journal.close()


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    await write_call(journal)
    folder = only_folder(tmp_path / "journal")
    assert folder.stat().st_mode & 0o077 == 0
    assert [path.name for path in folder.iterdir() if path.stat().st_mode & 0o077] == []
    journal.close()


async def test_a_call_set_aside_can_be_read_back_as_it_was(tmp_path: Path) -> None:
    """A dead letter is worth keeping only while somebody can still make a trace of it."""
    journal = open_journal(tmp_path / "journal")
    await write_call(journal, b"\x00ask", b"ans\xffwer")
    (call,) = JournalReader(only_folder(tmp_path / "journal")).read()
    journal.close()
    odd = replace(call, error="cut", is_response_truncated=True, response_bytes=99, key_fingerprint="0123")
    for number, each in enumerate((call, odd)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "00000001.seg").write_bytes(call_entries(each))
        assert list(JournalReader(folder).read()) == [each]
        assert read_call(call_entries(each)) == each


async def test_what_is_no_kept_call_is_refused_whatever_byte_is_wrong(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    await write_call(journal)
    (call,) = JournalReader(only_folder(tmp_path)).read()
    journal.close()
    kept = call_entries(call)
    for at in range(len(kept)):
        with pytest.raises(ValueError, match="a kept call"):
            read_call(kept[:at])
        with pytest.raises(ValueError, match="a kept call"):
            read_call(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :])
    head = SEGMENT_MAGIC + bytes(8)
    for meta in ({}, {"outcome": "no outcome"}):
        entries = [
            encode(bytes(8), kind, call.trace_id, {**BEGIN, **meta}) for kind in (EntryKind.BEGIN, EntryKind.END)
        ]
        with pytest.raises(ValueError, match="lacks"):
            read_call(head + b"".join(entries))


@pytest.mark.parametrize("is_alive", [True, False])
async def test_segments_that_are_not_there_do_not_hide_those_behind_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_alive: bool
) -> None:
    """A database that was put back asks for segments that a newer one had stored, so that they were deleted."""
    monkeypatch.setattr(writer_thread, "SEGMENT_BYTES", 2000)
    journal = open_journal(tmp_path)
    ids = [await write_call(journal, b"y" * 3000) for _ in range(5)]
    folder = only_folder(tmp_path)
    old = JournalReader(folder)
    assert next(old.read()).trace_id == ids[0]
    position = old.position
    for number in range(1, position.segment + 2):
        (folder / f"{number:08d}.seg").unlink()
    if not is_alive:
        journal.close()
    reader = JournalReader(folder, position)
    left = [call.trace_id for call in (reader.read() if is_alive else reader.finish())]
    assert left == ids[-len(left) :]
    assert 0 < len(left) < 5
    assert reader.take_dead_letters() == []
    if is_alive:
        journal.close()


async def test_a_position_beyond_the_segments_that_are_there_reads_nothing_twice(tmp_path: Path) -> None:
    """A journal that was put back may be older than its database, which has stored all that it holds."""
    journal = open_journal(tmp_path)
    await write_call(journal)
    await write_call(journal)
    folder = only_folder(tmp_path)
    reader = JournalReader(folder)
    assert len(list(reader.read())) == 2
    journal.close()
    segment, offset = reader.position.segment, reader.position.offset
    (folder / "00000001.seg").write_bytes((folder / "00000001.seg").read_bytes()[: offset // 2])
    for position in (JournalPosition("w", segment, offset), JournalPosition("w", segment + 3, 16)):
        late = JournalReader(folder, position)
        assert list(late.finish()) == []
        assert late.take_dead_letters() == []


async def test_a_segment_with_nothing_behind_its_head_is_no_damage(tmp_path: Path) -> None:
    """A writer that begins a segment and is killed before its first entry has lost nothing."""
    journal = open_journal(tmp_path)
    trace_id = await write_call(journal)
    journal.close()
    for number, size in ((2, SEGMENT_HEAD_SIZE), (3, 0)):
        (only_folder(tmp_path) / f"{number:08d}.seg").write_bytes((SEGMENT_MAGIC + journal.mark)[:size])
    reader = JournalReader(only_folder(tmp_path))
    assert [call.trace_id for call in reader.finish()] == [trace_id]
    assert reader.take_dead_letters() == []
