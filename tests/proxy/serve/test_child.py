"""A process that is kept running: whatever ends it, and whatever keeps it from starting."""

import asyncio
import errno
import signal
import sys

import pytest

from proxy.serve import child as child_module
from proxy.serve.child import Child
from tests.proxy.journal.calls import wait_until

WAITS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print(flush=True); signal.pause()"


class Starter:
    """Starts processes that wait to be told to end; the n-th start fails as it does when the machine has no more."""

    def __init__(self, *failing: int) -> None:
        self.starts = 0
        self.processes: list[asyncio.subprocess.Process] = []
        self.hold: asyncio.Event | None = None
        self._failing = failing

    async def __call__(self) -> asyncio.subprocess.Process:
        self.starts += 1
        if self.starts in self._failing:
            raise OSError(errno.EAGAIN, "no process to be had")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", WAITS, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await process.stdout.readline()
        self.processes.append(process)
        if self.hold is not None:
            await self.hold.wait()
        return process


class Deaths(list[tuple[int, bool]]):
    def __call__(self, _name: str, pid: int, *, is_restarted: bool) -> None:
        self.append((pid, is_restarted))


async def test_a_process_that_cannot_be_started_again_at_once_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine out of memory gives no process for a while; nobody else would ever try again."""
    monkeypatch.setattr(child_module, "_FIRST_BACKOFF_S", 0.01)
    starter, deaths = Starter(2, 3), Deaths()
    child = Child("worker 1", starter, deaths)
    await child.start()
    starter.processes[0].kill()
    await wait_until(lambda: len(starter.processes) == 2)
    assert starter.starts == 4
    await child.end()
    assert deaths == [(starter.processes[0].pid, True), (starter.processes[1].pid, False)]
    assert starter.processes[1].returncode == 0


async def test_a_stop_between_two_starts_is_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_FIRST_BACKOFF_S", 60.0)
    starter, deaths = Starter(), Deaths()
    child = Child("ingest", starter, deaths)
    await child.start()
    starter.processes[0].kill()
    await wait_until(lambda: deaths)
    async with asyncio.timeout(2):
        await child.end()
    assert starter.starts == 1


async def test_a_stop_while_a_process_is_being_started_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_FIRST_BACKOFF_S", 0.01)
    starter, deaths = Starter(), Deaths()
    child = Child("admin", starter, deaths)
    await child.start()
    starter.hold = asyncio.Event()
    starter.processes[0].send_signal(signal.SIGKILL)
    await wait_until(lambda: len(starter.processes) == 2)
    ending = asyncio.create_task(child.end())
    await asyncio.sleep(0)
    starter.hold.set()
    async with asyncio.timeout(5):
        await ending
    assert [process.returncode for process in starter.processes] == [-signal.SIGKILL, 0]
