"""Every system call of the journal fails once, and kills once: nothing acknowledged is lost, nothing comes out twice.

The way of SQLite's tests: run the same work again and again, and let the first, the second, the n-th operation fail,
until a run ends without meeting the fault. The named moments of a worker's death are all among these points: before a
write, between the write and its report, after the report, between two segments, before and after a flush.
"""

import asyncio
import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

import pytest

from proxy.journal import writer_thread
from proxy.journal.format import EntryKind
from proxy.journal.writer import Journal
from store.trace import Outcome
from store.uuid7 import uuid7
from tests.proxy.journal.calls import BEGIN, END, open_journal, read_all
from tests.proxy.journal.disks import DeadlyDisk, FailingDisk, WatchedDisk

CALLS = 6
SEGMENT_BYTES = 1500
"""Small enough for the work to go over several segments."""
FALLIBLE = ("open", "write", "fstat", "fdatasync", "fsync", "mkdir", "rename", "unlink")


async def work(journal: Journal, acknowledged: list[UUID]) -> None:
    """Record calls of several parts each, and note those whose END is said to be down."""
    for number in range(CALLS):
        trace_id = uuid7()
        journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN, b"ask")
        journal.append_nowait(EntryKind.RESPONSE, trace_id, None, bytes([number]) * 700)
        await asyncio.sleep(0)
        written = journal.append(EntryKind.END, trace_id, END, b"end")
        await written
        if not journal.is_stuck:
            acknowledged.append(trace_id)


def assert_whole(root: Path, acknowledged: set[UUID]) -> set[UUID]:
    """Hold what is read back to the invariant; return the ids of the completed calls."""
    calls, letters = read_all(root)
    ids = [call.trace_id for call in calls]
    assert len(ids) == len(set(ids)), "a call came out twice"
    completed = {call.trace_id: call for call in calls if call.outcome is Outcome.COMPLETED}
    assert acknowledged <= set(completed), "an acknowledged call is lost"
    for call in completed.values():
        assert len(call.response_body) == 703
        assert call.response_body.endswith(b"end")
        assert call.request_body == b"ask"
    assert {letter.reason for letter in letters} <= {"torn"}
    return set(completed)


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("name", FALLIBLE)
@pytest.mark.parametrize("times", [1, 2])
async def test_an_error_at_the_nth_call_of_every_kind_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, name: str, times: int
) -> None:
    monkeypatch.setattr(writer_thread, "SEGMENT_BYTES", SEGMENT_BYTES)
    monkeypatch.setattr(writer_thread, "_RETRY_S", 0.01)
    monkeypatch.setattr(writer_thread, "_SYNC_INTERVAL_S", 0.005)
    met = 0
    for nth in range(1, 60):
        root = tmp_path / str(nth)
        disk = FailingDisk(name, nth, times, errno.ENOSPC)
        journal = open_journal(root, disk=disk, durability=durability)
        acknowledged: list[UUID] = []
        await work(journal, acknowledged)
        await asyncio.to_thread(journal.close)
        assert len(assert_whole(root, set(acknowledged))) == CALLS, "the error is over, and a call is missing"
        if not disk.failed.is_set():
            break
        met += 1
    else:
        pytest.fail("the work never ended without the fault")
    least = {"unlink": 0, "mkdir": 1, "rename": 1, "fdatasync": 1, "fsync": 1}
    assert met >= least.get(name, 4)


MORTAL = """
import asyncio, sys
from pathlib import Path
from proxy.journal import writer_thread
from tests.proxy.journal.calls import open_journal
from tests.proxy.journal.disks import DeadlyDisk
from tests.proxy.journal.test_injected_faults import SEGMENT_BYTES, work

class Printed(list):
    def append(self, trace_id):
        print(trace_id, flush=True)

async def main(root, durability, name, nth, when):
    writer_thread.SEGMENT_BYTES = SEGMENT_BYTES
    disk = DeadlyDisk(name, int(nth), is_after=when == "after")
    journal = open_journal(Path(root), disk=disk, durability=durability)
    await work(journal, Printed())
    journal.close()
for line in sys.stdin:
    import os
    if (pid := os.fork()) == 0:
        asyncio.run(main(*line.split()))
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("durability", ["process", "power"])
def test_killed_at_any_call_of_every_kind_what_was_acknowledged_is_there_once(tmp_path: Path, durability: str) -> None:
    """One process stays and forks the ones that die, so that each death costs a few milliseconds."""
    deaths: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", MORTAL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name in ("mkdir", "open", "rename", "write", "fstat", "fdatasync", "fsync"):
            for when in ("before", "after"):
                for nth in range(1, 60):
                    root = Path(tempfile.mkdtemp(dir=tmp_path))
                    process.stdin.write(f"{root} {durability} {name} {nth} {when}\n")
                    acknowledged = set()
                    while not (line := process.stdout.readline()).startswith("ended"):
                        acknowledged.add(UUID(line.strip()))
                    completed = assert_whole(root, acknowledged)
                    if line.split()[1] == "0":
                        # Acknowledged may be fewer: on a busy machine a flush takes longer than anybody waits.
                        assert len(completed) == CALLS
                        break
                    deaths.append(f"{when} {name} {nth}")
        process.stdin.close()
    assert {"before write 1", "after write 2", "before open 3", "after open 4"} <= set(deaths)
    assert any(death.startswith("after fdatasync") for death in deaths)


def test_the_faults_cover_every_system_call_there_is() -> None:
    from proxy.journal.disk import Disk

    assert {name for name in vars(Disk) if not name.startswith("_")} == {*FALLIBLE, "writev"}
    assert os.write is Disk.write, "the shipped disk is the operating system's own"
    assert isinstance(DeadlyDisk("write", 1, is_after=True), WatchedDisk)
