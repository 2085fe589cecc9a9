"""What is shed is declared: as many as are missing, once, as soon as there is room."""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from proxy.journal import writer
from proxy.journal.format import Damage, Entry, EntryKind, encode, read_entries
from proxy.journal.gap import GapLedger
from proxy.journal.reader import JournalReader
from store.uuid7 import uuid7
from tests.proxy.journal.calls import BEGIN, only_folder, open_journal, read_all, wait_until, write_call
from tests.proxy.journal.disks import StuckDisk


async def test_missing_is_declared_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_GAP_INTERVAL_S", 0.05)
    disk = StuckDisk("write")
    journal = open_journal(tmp_path, disk=disk, max_pending_bytes=5000)
    answered = stored = 0
    for _ in range(40):
        answered += 1
        if journal.has_room(900):
            await write_call(journal, b"x" * 900)
        else:
            journal.shed("journal_backlog")
    journal.shed("journal_backlog_body")
    assert journal.is_failing
    disk.go.set()
    await wait_until(lambda: journal.pending_bytes == 0)
    reader = JournalReader(only_folder(tmp_path))
    letters = []

    def is_declared() -> bool:
        nonlocal stored
        stored += len(list(reader.read()))
        letters.extend(reader.take_dead_letters())
        return len(letters) >= 2

    await wait_until(is_declared)
    gaps = {gap["reason"]: gap for gap in (json.loads(letter.body) for letter in letters)}
    assert gaps["journal_backlog"]["count"] == answered - stored > 0
    assert gaps["journal_backlog_body"]["count"] == 1
    assert gaps["journal_backlog"]["from"] <= gaps["journal_backlog"]["to"]
    assert {gap["writer"] for gap in gaps.values()} == {only_folder(tmp_path).name}
    assert {letter.reason for letter in letters} == {"gap"}
    assert journal.shed_counts == {"journal_backlog": answered - stored, "journal_backlog_body": 1}
    journal.close()
    assert list(reader.finish()) == []
    assert reader.take_dead_letters() == [], "declared twice"


async def test_what_was_shed_just_before_the_end_is_declared_too(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for _ in range(3):
        journal.shed("journal_backlog")
    await asyncio.to_thread(journal.close)
    (letter,) = read_all(tmp_path)[1]
    assert json.loads(letter.body)["count"] == 3
    assert letter.detail.startswith("3 not recorded (journal_backlog) from ")


def test_shedding_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    gaps = GapLedger()
    with caplog.at_level(logging.WARNING, "tracemill.journal"):
        for _ in range(1000):
            gaps.add("journal_backlog")
    assert len(caplog.records) == 1


def test_a_clock_set_back_turns_no_gap_around() -> None:
    times = iter([100.0, 50.0])
    gaps = GapLedger(lambda: next(times))
    gaps.add("journal_backlog")
    gaps.add("journal_backlog")
    assert list(gaps.take()) == [{"reason": "journal_backlog", "count": 2, "from": 100.0, "to": 100.0}]
    assert list(gaps.take()) == []


def test_an_entry_of_a_kind_from_a_newer_version_costs_itself_alone() -> None:
    mark = b"8 bytes!"
    known = encode(mark, EntryKind.BEGIN, uuid7(), BEGIN, b"x")
    unknown = encode(mark, 99, uuid7(), None, b"y")  # type: ignore[arg-type]
    found = list(read_entries(mark, unknown + known, 16))
    assert found[0] == Damage(16, 16 + len(unknown))
    assert isinstance(found[1], Entry)
