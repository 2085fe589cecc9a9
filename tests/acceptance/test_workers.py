"""Several workers on one port, and what `/metrics` says of them all."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.acceptance.test_capture_faults import BODY, load, wait_stored
from tests.acceptance.test_departures import in_flight
from tests.faults.evidence import metrics
from tests.server import Server
from tests.upstream import STREAM_HEAD, Answer, ReceivedCall, ScriptedUpstream, Stall, framed, plain


def script(call: ReceivedCall) -> Answer:
    wish = call.header(b"x-wish") or b""
    if wish == b"stall":
        return [STREAM_HEAD, framed(b"data: 1\n\n"), Stall()]
    if wish:
        return plain(b"{}", status=wish.decode())
    return plain(b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%s"}}]}' % (b"x" * 2000))


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script) as running:
        yield running


@pytest.fixture
def server(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Server]:
    with Server(upstream.base_url, tmp_path / "data", "--workers", "2") as running:
        yield running


def wait_total(server: Server, calls: int, **labels: str) -> None:
    """Wait until so many calls are counted, and not one more."""
    server.wait_for(lambda: range(int(metrics(server).total("tracemill_calls_total", **labels))), calls, 5)
    assert metrics(server).total("tracemill_calls_total", **labels) == calls


async def test_when_one_of_two_workers_is_killed_the_other_serves(server: Server) -> None:
    """New connections only: those of the killed one break, as they must."""
    before = await load(server, calls=200)
    workers = server.children("worker")
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
        during = await load(server, calls=100)
        os.kill(worker, signal.SIGCONT)
        before.update(during)
    wait_total(server, len(before), outcome="completed")  # a kill takes what was not told yet
    os.kill(workers[0], signal.SIGKILL)
    after = await load(server, calls=200)
    wait_stored(server, before | after)
    wait_total(server, len(before | after), outcome="completed")
    assert metrics(server).total("tracemill_process_restarts_total") == 1


async def test_metrics_add_up_over_workers_and_outlive_them(server: Server) -> None:
    wishes = ["200 OK"] * 5 + ["404 Not Found"] * 3 + ["429 Too Many"] * 2 + ["500 Oops"]
    async with httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_keepalive_connections=0)) as client:

        async def ask(wish: str) -> None:
            await client.post(f"{server.base_url}/chat/completions", content=BODY, headers={"x-wish": wish})

        await asyncio.gather(*(ask(wish) for wish in wishes))
        streams = [client.stream("POST", f"{server.base_url}/x", headers={"x-wish": "stall"}) for _ in range(6)]
        bodies = [(await stream.__aenter__()).aiter_raw() for stream in streams]
        for body in bodies:
            await anext(body)
        await asyncio.to_thread(server.wait_for, lambda: [True] if in_flight(server) == 6 else [], 1, 5)
        await asyncio.to_thread(wait_total, server, len(wishes))  # a kill takes what was not told yet
        for worker in server.children("worker"):
            os.kill(worker, signal.SIGKILL)
        for stream in streams:
            await stream.__aexit__(None, None, None)
    await asyncio.to_thread(server.wait_for, lambda: [] if in_flight(server) else [True], 1, 5)
    found = metrics(server)
    for status, count in Counter(int(wish[:3]) for wish in wishes).items():
        outcome = "completed" if status < 400 else "upstream_error"
        assert found.total("tracemill_calls_total", status=str(status), outcome=outcome) == count
    assert found.total("tracemill_calls_total") == found.total("tracemill_call_duration_seconds_count") == len(wishes)
    assert found.total("tracemill_time_to_first_block_seconds_count") == len(wishes)


def processes_told(server: Server) -> list[str]:
    return [key for key in metrics(server).values if key.startswith("tracemill_snapshot_age_seconds")]


async def test_nothing_a_client_or_an_upstream_sends_makes_a_label(server: Server) -> None:
    series = []
    # A process that has told nothing yet has no series either.
    await asyncio.to_thread(server.wait_for, lambda: processes_told(server), 3, 5)
    async with httpx.AsyncClient(timeout=20) as client:
        for number in range(30):
            headers = {"x-tracemill-session": f"s{number}", "x-tracemill-tags": f"t{number}", "host": f"h{number}"}
            await client.request("PUT", f"{server.base_url}/p{number}?q={number}", headers=headers)
            await client.get(f"{server.base_url.removesuffix('/v1')}/outside/{number}")
            if number in (0, 29):
                wait_total(server, number + 1)
                series.append(metrics(server).values.keys())
    assert series[0] == series[1]
    assert not any(f'"{kind}{number}"' in key for key in series[1] for kind in "psth" for number in range(30))
