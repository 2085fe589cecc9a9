"""Whatever happens to capture, the calls do not notice: none fails, none waits, and what is not recorded is counted.

The faults that need a load under way are drills of their own, in `tests/faults/`.
"""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest

from proxy.journal.writer import JOURNAL_FOLDER
from tests.faults.disks import no_file_may_grow, small_disk
from tests.faults.drill import NotPossibleHereError
from tests.faults.evidence import DROPPED, settled_metrics, stored, wait_declared
from tests.process_state import MIB, peak_bytes
from tests.server import Server
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain

CALLERS = 8


def answer(_call: ReceivedCall) -> Answer:
    return ANSWER


ANSWER = list(plain(b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%s"}}]}' % (b"x" * 2000)))
BODY = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (b"y" * 2000)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(answer) as running:
        yield running


async def load(server: Server, *, calls: int) -> set[str]:
    """Make the calls, a few at a time; any that fails fails the test. Returns their trace ids."""
    left = iter(range(calls))
    trace_ids: set[str] = set()

    async def keep_calling(client: httpx.AsyncClient) -> None:
        for _ in left:
            response = await client.post(f"{server.base_url}/chat/completions", content=BODY)
            assert response.content == ANSWER[1]
            trace_ids.add(response.headers["x-tracemill-trace-id"])

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(keep_calling(await stack.enter_async_context(httpx.AsyncClient(timeout=20))))
    assert len(trace_ids) == calls
    return trace_ids


def wait_stored(server: Server, trace_ids: set[str], *, missing: int = 0, timeout_s: float = 20) -> None:
    found = server.wait_for(lambda: stored(server.data_dir) & trace_ids, len(trace_ids) - missing, timeout_s)
    assert len(found) == len(trace_ids) - missing


async def test_a_journal_folder_that_is_deleted_is_made_again(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """An open file goes on taking entries after its name is gone: they would be lost, and nobody would know."""
    with Server(upstream.base_url, tmp_path / "data") as server:
        before = await load(server, calls=50)
        wait_stored(server, before)
        shutil.rmtree(tmp_path / "data" / JOURNAL_FOLDER)
        after = await load(server, calls=50)
        wait_stored(server, after)
        again = await load(server, calls=50)
        wait_stored(server, again)
        assert {*before, *after, *again} <= set(stored(server.data_dir))


async def test_what_finds_no_room_even_in_memory_is_shed_and_counted(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    config = tmp_path / "tracemill.yaml"
    config.write_text("max_pending_bytes: 1048576\n")
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(data_dir, "2m"))
        except NotPossibleHereError as error:
            pytest.skip(str(error))
        server = stack.enter_context(Server(upstream.base_url, data_dir, "--config", str(config)))
        loaded = await load(server, calls=1200)
        dropped = int((await settled_metrics(server, 1200)).total(DROPPED, reason="journal_backlog"))
        assert dropped > 0
        kept = subprocess.run(["mount", "-o", "remount,size=64m", str(data_dir)], check=False)
        assert kept.returncode == 0
        wait_stored(server, loaded, missing=dropped)
        assert await wait_declared(data_dir, dropped) == dropped


async def test_where_capture_is_a_must_calls_are_refused_while_it_fails_and_served_again_after(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    config = tmp_path / "tracemill.yaml"
    config.write_text("on_capture_failure: refuse\ndurability: power\n")
    with Server(upstream.base_url, tmp_path / "data", "--config", str(config)) as server:
        async with httpx.AsyncClient(timeout=20) as client:

            async def status() -> int:
                response = await client.post(f"{server.base_url}/chat/completions", content=BODY)
                return response.status_code

            before = await load(server, calls=50)
            with no_file_may_grow(server):
                await wait_until_status(status, 503)
                reached = len(upstream.calls)
                assert [await status() for _ in range(5)] == [503] * 5
                assert len(upstream.calls) == reached, "a refused call was made, and paid for"
            await wait_until_status(status, 200)
        after = await load(server, calls=50)
        wait_stored(server, before | after)


async def wait_until_status(status: Callable[[], Awaitable[int]], wanted: int) -> None:
    deadline = time.monotonic() + 10
    while await status() != wanted:
        assert time.monotonic() < deadline, f"no {wanted}"
        await asyncio.sleep(0.02)


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
        wait_stored(server, others | hostile, timeout_s=8)
        assert server.children("ingest") == [ingest]
        assert peak_bytes(ingest) < 500 * MIB
