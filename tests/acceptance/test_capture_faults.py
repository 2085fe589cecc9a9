"""Whatever happens to capture, the calls do not notice: none fails, none waits, and what is not recorded is counted."""

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest

from proxy.ingest.ingest import TRACES_FILE
from proxy.journal.writer import JOURNAL_FOLDER
from tests.process_state import MIB, peak_bytes
from tests.server import Server
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain

CALLERS = 8
ALLOWED_S = 0.25
"""More than without the fault at the 99th percentile; a stuck recorder may hold an answer for 100 ms, once."""


class Load(NamedTuple):
    """What a stretch of calls came to."""

    trace_ids: set[str]
    p99_s: float


class Metrics(NamedTuple):
    """What `/metrics` says, name and labels to value."""

    values: dict[str, float]

    def total(self, name: str, **labels: str) -> float:
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        matching = [key for key in self.values if key.partition("{")[0] == name and all(each in key for each in wanted)]
        return sum(self.values[key] for key in matching)


def metrics(server: Server) -> Metrics:
    with urllib.request.urlopen(server.admin_url + "/metrics", timeout=10) as answer:
        lines = re.findall(r"^([^#\s]\S*) (\S+)$", answer.read().decode(), re.MULTILINE)
    return Metrics({key: float(value) for key, value in lines})


def answer(_call: ReceivedCall) -> Answer:
    return ANSWER


ANSWER = list(plain(b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%s"}}]}' % (b"x" * 2000)))
BODY = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (b"y" * 2000)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(answer) as running:
        yield running


async def load(server: Server, *, calls: int) -> Load:
    """Make the calls, a few at a time; any that fails fails the test."""
    left = iter(range(calls))
    trace_ids: set[str] = set()
    times: list[float] = []

    async def keep_calling(client: httpx.AsyncClient) -> None:
        for _ in left:
            began = time.perf_counter()
            response = await client.post(f"{server.base_url}/chat/completions", content=BODY)
            times.append(time.perf_counter() - began)
            assert response.content == ANSWER[1]
            trace_ids.add(response.headers["x-tracemill-trace-id"])

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(keep_calling(await stack.enter_async_context(httpx.AsyncClient(timeout=20))))
    assert len(trace_ids) == calls
    return Load(trace_ids, sorted(times)[int(calls * 0.99)])


async def load_while(server: Server, fault: Callable[[], None], *, calls: int = 300) -> Load:
    """Make calls with the fault on, and hold them to the pace of those before it."""
    before = await load(server, calls=calls)
    fault()
    during = await load(server, calls=calls)
    assert during.p99_s <= before.p99_s + ALLOWED_S
    return Load(before.trace_ids | during.trace_ids, during.p99_s)


def stored(data_dir: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{data_dir / TRACES_FILE}?mode=ro", uri=True)) as database:
        return {str(_uuid(row[0])) for row in database.execute("SELECT id FROM traces")}


def _uuid(value: bytes) -> object:
    from uuid import UUID

    return UUID(bytes=value)


def wait_stored(server: Server, trace_ids: set[str], *, missing: int = 0, timeout_s: float = 20) -> None:
    found = server.wait_for(lambda: stored(server.data_dir) & trace_ids, len(trace_ids) - missing, timeout_s)
    assert len(found) == len(trace_ids) - missing


async def test_a_locked_database_holds_up_nobody(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Server(upstream.base_url, tmp_path / "data") as server:
        locker = sqlite3.connect(tmp_path / "data" / TRACES_FILE, isolation_level=None, check_same_thread=False)
        with closing(locker):
            loaded = await load_while(server, lambda: locker.execute("BEGIN EXCLUSIVE") and None)
            await asyncio.sleep(3)  # the fault itself: longer than one wait of the writer for its lock
            locker.execute("ROLLBACK")
        wait_stored(server, loaded.trace_ids)
        assert metrics(server).total("tracemill_capture_dropped_total") == 0


async def test_ingest_killed_again_and_again_loses_and_doubles_nothing(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with Server(upstream.base_url, tmp_path / "data") as server:
        calling = asyncio.create_task(load(server, calls=1500))
        kills = 0
        while not calling.done():
            if server.children("ingest"):
                await asyncio.to_thread(server.kill, "ingest")
                kills += 1
            await asyncio.sleep(0.1)
        loaded = await calling
        assert kills >= 3
        wait_stored(server, loaded.trace_ids)
        assert metrics(server).total("tracemill_traces") == 1500


async def test_a_frozen_ingest_is_waited_for_by_nobody(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Server(upstream.base_url, tmp_path / "data") as server:
        (ingest,) = server.children("ingest")
        loaded = await load_while(server, lambda: os.kill(ingest, signal.SIGSTOP))
        assert len(stored(server.data_dir)) < len(loaded.trace_ids)
        os.kill(ingest, signal.SIGCONT)
        wait_stored(server, loaded.trace_ids)


async def test_a_journal_folder_that_is_deleted_is_made_again(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """An open file goes on taking entries after its name is gone: they would be lost, and nobody would know."""
    with Server(upstream.base_url, tmp_path / "data") as server:
        before = await load(server, calls=50)
        wait_stored(server, before.trace_ids)
        shutil.rmtree(tmp_path / "data" / JOURNAL_FOLDER)
        after = await load(server, calls=50)
        wait_stored(server, after.trace_ids)
        again = await load(server, calls=50)
        wait_stored(server, again.trace_ids)
        assert {*before.trace_ids, *after.trace_ids, *again.trace_ids} <= set(stored(server.data_dir))


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    path.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("only root may make a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


async def test_a_full_disk_fails_no_call_and_all_is_stored_when_there_is_room(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    with small_disk(data_dir, "8m"), Server(upstream.base_url, data_dir) as server:
        filler = data_dir / "filler"

        def fill() -> None:
            with filler.open("wb", buffering=0) as file:
                for size in (65536, 1):
                    try:
                        while True:
                            file.write(b"\0" * size)
                    except OSError:
                        continue

        loaded = await load_while(server, fill)
        assert metrics(server).total("tracemill_capture_dropped_total") == 0
        assert len(stored(data_dir)) < len(loaded.trace_ids)
        await asyncio.sleep(2)
        assert len(list((data_dir / JOURNAL_FOLDER).glob("*/*.seg"))) <= 3, "each try leaves a file behind"
        filler.unlink()
        wait_stored(server, loaded.trace_ids)


async def test_what_finds_no_room_even_in_memory_is_shed_and_counted(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    config = tmp_path / "tracemill.yaml"
    config.write_text("max_pending_bytes: 1048576\n")
    with small_disk(data_dir, "2m"), Server(upstream.base_url, data_dir, "--config", str(config)) as server:
        loaded = await load(server, calls=1200)
        server.wait_for(lambda: range(int(metrics(server).total("tracemill_calls_total"))), 1200, 5)
        dropped = metrics(server).total("tracemill_capture_dropped_total", reason="journal_backlog")
        assert dropped > 0
        kept = subprocess.run(["mount", "-o", "remount,size=64m", str(data_dir)], check=False)
        assert kept.returncode == 0
        wait_stored(server, loaded.trace_ids, missing=int(dropped))


HOSTILE = {
    "objects": b'{"messages":[' + b",".join([b"{}"] * 7_000_000) + b"]}",
    "brackets": b"[" * 20_000_000,
    "names": b'{"messages":[],' + b",".join([b'"%d":0' % number for number in range(2_000_000)]) + b"}",
    "quotes": b'{"messages":["' + b'\\",' * 7_000_000,
    "spaced": b'{"messages":[],"x":[' + b" , ".join([b"1"] * 5_000_000) + b"]}",
}


async def test_hostile_bodies_hold_up_nobody_elses_trace(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """20 MB of brackets are cheap to send, and were half a minute and a gigabyte to parse."""
    with Server(upstream.base_url, tmp_path / "data") as server:
        (ingest,) = server.children("ingest")
        hostile = set()
        async with httpx.AsyncClient(timeout=20) as client:
            for body in HOSTILE.values():
                response = await client.post(f"{server.base_url}/chat/completions", content=body)
                hostile.add(response.headers["x-tracemill-trace-id"])
        others = await load(server, calls=20)
        wait_stored(server, others.trace_ids | hostile, timeout_s=8)
        assert server.children("ingest") == [ingest]
        assert peak_bytes(ingest) < 500 * MIB
