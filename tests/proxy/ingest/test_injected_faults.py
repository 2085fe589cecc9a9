"""Every operation of ingest fails once, and kills once: each call is stored exactly once, whole.

The journal of a dead worker, over several segments, is read again and again; the first, the second, the n-th read,
commit or deletion fails, or ends the process before or after it: the named moments are those before and after a
commit, which moves the positions too, and before and after a segment or a folder is deleted.
"""

import asyncio
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.ingest import ingest as ingest_module
from proxy.ingest.ingest import run_ingest
from proxy.journal import reader as reader_module
from proxy.journal import writer_thread
from proxy.journal.format import EntryKind
from proxy.journal.writer import JOURNAL_FOLDER
from store.data_files import TRACES_FILE
from store.errors import StoreError
from store.traces import TraceWriter
from store.uuid7 import uuid7
from tests import chat
from tests.proxy.journal.calls import BEGIN, END, open_journal, wait_until

CALLS = 12
OPEN_AT_ONCE = 3
"""Calls overlap, as they do: those still open when a batch is stored are read again after a restart."""
POINTS = ("read", "commit", "delete_segments", "delete_folder")


async def make_journal(data_dir: Path) -> dict[UUID, str]:
    """Leave a dead worker's journal of several segments, its calls overlapping, one without an end."""
    writer_thread_bytes, writer_thread.SEGMENT_BYTES = writer_thread.SEGMENT_BYTES, 2500
    try:
        journal = open_journal(data_dir / JOURNAL_FOLDER)
        texts: dict[UUID, str] = {}
        open_calls: deque[tuple[UUID, bytes]] = deque()
        for number in range(CALLS + OPEN_AT_ONCE):
            if number < CALLS:
                trace_id, text = uuid7(), f"question {number}"
                texts[trace_id] = text
                request = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
                answer = json.dumps(chat.completion(chat.text(text.upper()))).encode()
                journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN, request)
                await journal.append(EntryKind.RESPONSE, trace_id, None, answer[:50])
                open_calls.append((trace_id, answer[50:]))
            if number >= OPEN_AT_ONCE:
                trace_id, rest = open_calls.popleft()
                await journal.append(EntryKind.END, trace_id, END, rest)
        journal.append_nowait(EntryKind.BEGIN, uuid7(), BEGIN, b"no end")
        await asyncio.to_thread(journal.close)
    finally:
        writer_thread.SEGMENT_BYTES = writer_thread_bytes
    assert len(list((data_dir / JOURNAL_FOLDER).glob("*/*.seg"))) >= 3
    return texts


class Faults:
    """Where ingest is to meet its fault: `hit` is called before and after each operation of a point."""

    def __init__(self, point: str, nth: int, when: str, fault: Callable[[], None]) -> None:
        self.point, self.nth, self.when, self.fault = point, nth, when, fault
        self.count = 0
        self.is_met = False

    def hit(self, point: str, when: str) -> None:
        if point != self.point:
            return
        self.count += when == "before"
        if (self.count, when) == (self.nth, self.when):
            self.is_met = True
            self.fault()

    def around(self, point: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            self.hit(point, "before")
            done = call(*arguments, **named)
            self.hit(point, "after")
            return done

        return watched

    def install(self, patch: Callable[[Any, str, Any], None]) -> None:
        """Put the fault's points into ingest: at the system calls and at the store's one way to write."""
        faults = self

        class Watched(TraceWriter):
            async def write(self, *arguments: Any, **named: Any) -> Any:
                faults.hit("commit", "before")
                done = await super().write(*arguments, **named)
                faults.hit("commit", "after")
                return done

        class Os:
            pread = staticmethod(faults.around("read", os.pread))

            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

        class Shutil:
            rmtree = staticmethod(faults.around("delete_folder", shutil.rmtree))

        patch(ingest_module, "TraceWriter", Watched)
        patch(ingest_module, "shutil", Shutil)
        patch(ingest_module, "_TROUBLE_S", 0.01)
        patch(ingest_module, "_IDLE_S", 0.01)
        patch(ingest_module, "_BATCH_CALLS", 5)
        patch(reader_module, "os", Os())
        delete = faults.around("delete_segments", reader_module.JournalReader.delete_read_segments)
        patch(reader_module.JournalReader, "delete_read_segments", delete)


async def ingest_all(data_dir: Path) -> None:
    """Run ingest until the dead worker's folder is gone."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_ingest(data_dir, stop, max_decoded_bytes=1 << 24))
    journals = data_dir / JOURNAL_FOLDER
    await wait_until(lambda: task.done() or not any(journals.iterdir()), 20)
    stop.set()
    await task


def assert_each_once(data_dir: Path, texts: dict[UUID, str]) -> None:
    with closing(sqlite3.connect(f"file:{data_dir / TRACES_FILE}?mode=ro", uri=True)) as database:
        rows = [(UUID(bytes=row[0]), row[1]) for row in database.execute("SELECT id, outcome FROM traces")]
        replies = dict(database.execute("SELECT trace, count(*) FROM replies GROUP BY trace"))
        (letters,) = database.execute("SELECT count(*) FROM dead_letters").fetchone()
    completed = [id_ for id_, outcome in rows if outcome == "completed"]
    assert sorted(completed) == sorted(texts), "a call is lost or stored twice"
    assert [outcome for _, outcome in rows if outcome != "completed"] == ["interrupted"]
    assert set(replies.values()) == {1}
    assert len(replies) == CALLS
    assert letters == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
async def test_an_error_at_the_nth_operation_of_every_kind_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, when: str
) -> None:
    """An error after a commit is one whose answer got lost: nobody knows whether it happened."""

    def fail() -> None:
        raise StoreError("disk I/O error") if point == "commit" else OSError(errno.EIO, "read error")

    for nth in range(1, 60):
        data_dir = tmp_path / str(nth)
        texts = await make_journal(data_dir)
        faults = Faults(point, nth, when, fail)
        with monkeypatch.context() as patches:
            faults.install(patches.setattr)
            await ingest_all(data_dir)
        assert_each_once(data_dir, texts)
        if not faults.is_met:
            break
    assert nth > 1, "the fault was never met"


async def test_damage_and_gaps_that_are_read_again_are_counted_once(tmp_path: Path) -> None:
    """A call that stays open holds the position back; what lies behind it is read after every restart of ingest."""
    journal = open_journal(tmp_path / JOURNAL_FOLDER)
    open_id, hit_id = uuid7(), uuid7()
    await journal.append(EntryKind.BEGIN, open_id, BEGIN, b"open")
    await journal.append(EntryKind.BEGIN, hit_id, BEGIN, b"to be hit")
    await journal.append(EntryKind.GAP, uuid7(), {"reason": "journal_backlog", "count": 3, "from": 1.0, "to": 2.0})
    (segment,) = (tmp_path / JOURNAL_FOLDER).glob("*/*.seg")
    segment.write_bytes(segment.read_bytes().replace(b"to be hit", b"to be HIT"))

    def letters() -> list[str]:
        with closing(sqlite3.connect(f"file:{tmp_path / TRACES_FILE}?mode=ro", uri=True)) as database:
            return sorted(row[0] for row in database.execute("SELECT reason FROM dead_letters"))

    for _ in range(3):
        stop = asyncio.Event()
        task = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=1 << 24))
        await asyncio.sleep(0)
        stop.set()
        await task
        assert letters() == ["bad_crc", "gap"]
    await asyncio.to_thread(journal.close)


MORTAL = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.proxy.ingest.test_injected_faults import Faults, ingest_all
for line in sys.stdin:
    data_dir, point, nth, when = line.split()
    if (pid := os.fork()) == 0:
        Faults(point, int(nth), when, lambda: os.kill(os.getpid(), signal.SIGKILL)).install(setattr)
        asyncio.run(ingest_all(Path(data_dir)))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


async def test_killed_at_every_named_moment_each_call_is_stored_once(tmp_path: Path) -> None:
    deaths: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-c", MORTAL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(data_dir: Path, point: str, nth: int, when: str) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{data_dir} {point} {nth} {when}\n")
            return int(process.stdout.readline())

        for point in POINTS:
            for when in ("before", "after"):
                for nth in range(1, 20):
                    data_dir = tmp_path / f"{point}-{when}-{nth}"
                    texts = await make_journal(data_dir)
                    code = run(data_dir, point, nth, when)
                    if code == 0:
                        break
                    assert code == -signal.SIGKILL
                    deaths.add(f"{when} {point}")
                    if any((data_dir / JOURNAL_FOLDER).iterdir()):
                        assert run(data_dir, "none", 0, "never") == 0
                    assert_each_once(data_dir, texts)
        process.stdin.close()
    assert deaths == {f"{when} {point}" for point in POINTS for when in ("before", "after")}
