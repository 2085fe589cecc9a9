"""Stopping: who is served to the end, who is let go at once, and that nothing outlasts it."""

import asyncio
import socket
import time

import pytest

from proxy.wire.client_call import ClientCall
from proxy.wire.listener import Listener
from tests.proxy.wire.listening import GET, LIMITS, answer, listening, post, wait_until


async def drain(running_listener: Listener, seconds: float = 10) -> float:
    began = time.monotonic()
    await running_listener.drain(seconds)
    return time.monotonic() - began


async def test_idle_connections_do_not_hold_up_a_stop() -> None:
    async with listening(answer) as running:
        fresh, used = await running.client(), await running.client()
        await used.send(GET)
        await used.until(b"ok")
        await running.wait_connections(2)
        assert await drain(running.listener) < 1
        assert await fresh.rest() == await used.rest() == b""


async def test_a_call_under_way_is_finished_and_those_behind_it_are_not_begun() -> None:
    may_end = asyncio.Event()
    served: list[bytes] = []

    async def serve(call: ClientCall) -> None:
        served.append(call.head.target)
        await may_end.wait()
        await answer(call)

    async with listening(serve) as running:
        client = await running.client()
        await client.send(GET * 3)
        await wait_until(lambda: bool(served))
        draining = asyncio.create_task(drain(running.listener))
        await wait_until(lambda: not may_be_connected(running.port))
        may_end.set()
        received = await client.rest()
        assert received.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in received
        assert await draining < 5
        assert len(served) == 1


async def test_a_connection_that_was_told_of_no_end_answers_one_more_request_during_a_stop() -> None:
    """Closed right behind its answer, it would swallow the paid call that the client may be sending just then."""
    may_end = asyncio.Event()

    async def serve(call: ClientCall) -> None:
        call.begin_answer(200, b"OK", [(b"content-length", b"2")], has_body=True)
        call.flush()
        await may_end.wait()
        call.send(b"ok")
        call.finish([])

    async with listening(serve) as running:
        client, silent = await running.client(), await running.client()
        for each in (client, silent):
            await each.send(GET)
            await each.until(b"\r\n\r\n")
        draining = asyncio.create_task(drain(running.listener))
        await wait_until(lambda: not may_be_connected(running.port))
        may_end.set()
        for each in (client, silent):
            assert await each.until(b"ok") == b"ok"
        await client.send(GET)
        assert b"connection: close" in await client.rest()
        assert await silent.rest() == b""
        assert await draining < 5


def may_be_connected(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


async def test_a_head_that_is_half_there_may_come_whole_but_not_for_long() -> None:
    async with listening(answer) as running:
        ends, drips = await running.client(), await running.client()
        for client in (ends, drips):
            await client.send(GET[:10])
        await running.wait_connections(2)
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(drain(running.listener, 20))
        await asyncio.sleep(0.05)
        await ends.send(GET[10:])
        assert b"connection: close" in await ends.rest()
        assert b" 408 " in await drips.rest()
        assert await draining < 5


async def test_an_answer_that_is_still_being_taken_is_not_reset_by_a_stop() -> None:
    async with listening(answer) as running:
        client = await running.client()
        await client.send(post(b"x" * 500_000)[:1000])
        await client.until(b"HTTP/1.1 200")
        await drain(running.listener)
        assert (await client.rest()).endswith(b"ok")


@pytest.mark.parametrize("has_left", [False, True])
async def test_what_outlasts_the_drain_is_cancelled_though_its_client_is_gone(has_left: bool) -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def serve(call: ClientCall) -> None:
        call.on_departure = lambda: None
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with listening(serve) as running:
        client = await running.client()
        await client.send(GET)
        await begun.wait()
        if has_left:
            client.close()
            await running.wait_connections(0)
        assert await drain(running.listener, 0.3) > 0.25
        assert not ended.is_set()
        await running.listener.close()
        assert ended.is_set()


async def test_a_stop_waits_for_a_call_whose_client_is_gone() -> None:
    done: list[bool] = []
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def serve(call: ClientCall) -> None:
        call.on_departure = lambda: None
        begun.set()
        await may_end.wait()
        call.finish([])
        done.append(True)

    async with listening(serve) as running:
        client = await running.client()
        await client.send(GET)
        await begun.wait()
        client.close()
        await running.wait_connections(0)
        asyncio.get_running_loop().call_later(0.2, may_end.set)
        assert 0.1 < await drain(running.listener) < 5
        assert done == [True]


async def test_listeners_share_a_socket_and_one_that_stops_leaves_it_to_the_others() -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    listeners = []
    for _ in range(2):
        listener = Listener(answer, LIMITS, lambda _status: None)
        await listener.open(bound.dup())
        listeners.append(listener)
    bound.close()
    await listeners[0].drain(0)
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
    await listeners[1].drain(5)
    assert not may_be_connected(port)
