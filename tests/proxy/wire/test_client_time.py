"""What a client owes the listener in time: its request, its next one, and taking its answer."""

import asyncio
import time

import pytest

from proxy.errors import ClientSilentError, ProxyError
from proxy.wire.client_call import ClientCall
from tests.proxy.wire.listening import BIG, GET, answer, listening, post


async def test_a_head_that_drips_in_is_cut_off_in_time() -> None:
    async with listening(answer, head_timeout_s=0.3) as running:
        client = await running.client()
        await client.send(GET[:-2] + b"a: ")
        began = time.monotonic()
        while not client.has_arrivals():
            assert time.monotonic() - began < 2
            await client.send(b"b")
            await asyncio.sleep(0.02)
        assert b" 408 " in await client.until(b"\r\n")
        assert running.refusals == [408]


async def test_empty_lines_do_not_keep_a_connection_open() -> None:
    async with listening(answer, head_timeout_s=0.2, keep_alive_s=0.2) as running:
        client = await running.client()
        await client.send(GET)
        await client.until(b"ok")
        for _ in range(100):
            try:
                await client.send(b"\r\n")
            except ConnectionError:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the connection is still open")
        assert running.refusals == []


async def test_a_connection_that_says_nothing_is_closed_in_time() -> None:
    async with listening(answer, head_timeout_s=0.2, keep_alive_s=0.2) as running:
        silent, idle = await running.client(), await running.client()
        await idle.send(GET)
        await idle.until(b"ok")
        assert await silent.rest(5) == b""
        assert await idle.rest(5) == b""


async def test_a_body_that_stops_coming_is_given_up_in_time() -> None:
    failures: list[ProxyError] = []

    async def serve(call: ClientCall) -> None:
        try:
            while await call.read():
                pass
        except ProxyError as error:
            failures.append(error)
            await answer(call, status=408)

    async with listening(serve, silence_s=0.2) as running:
        client = await running.client()
        await client.send(post(b"hello")[:-1])
        assert b" 408 " in await client.until(b"ok")
        assert isinstance(failures[0], ClientSilentError)


async def stream_for_ever(call: ClientCall) -> None:
    call.begin_answer(200, b"OK", [], has_body=True)
    while True:
        call.send(b"x" * 100_000)
        if call.is_full:
            await call.drained()
        await asyncio.sleep(0)


async def test_a_client_that_takes_no_more_of_its_answer_is_cut_off() -> None:
    async with listening(stream_for_ever, silence_s=0.3) as running:
        client = await running.client(receive_bytes=4096)
        await client.send(GET)
        await running.wait_connections(1)
        await running.wait_connections(0, 5)


async def test_a_body_that_keeps_dripping_in_does_not_save_a_client_that_reads_nothing() -> None:
    """Both directions are watched, and what one of them does is no excuse for the other."""

    async def serve(call: ClientCall) -> None:
        async def read() -> None:
            while await call.read():
                pass

        reading = asyncio.create_task(read())
        try:
            await stream_for_ever(call)
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async with listening(serve, silence_s=0.4, max_body_bytes=1 << 30) as running:
        client = await running.client(receive_bytes=4096)
        await client.send(post(b"x" * 1_000_000)[:-1_000_000])
        await running.wait_connections(1)
        deadline = time.monotonic() + 5
        while running.listener.open_connections and time.monotonic() < deadline:
            try:
                await client.send(b"x")
            except ConnectionError:
                break
            await asyncio.sleep(0.05)
        await running.wait_connections(0, 1)


async def test_a_slow_reader_does_not_save_a_body_that_stopped_coming() -> None:
    failed = asyncio.Event()

    async def serve(call: ClientCall) -> None:
        async def read() -> None:
            try:
                while await call.read():
                    pass
            except ClientSilentError:
                failed.set()

        reading = asyncio.create_task(read())
        try:
            await stream_for_ever(call)
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async with listening(serve, silence_s=0.5) as running:
        client = await running.client()
        await client.send(post(b"hello")[:-1])
        async with asyncio.timeout(5):
            while not failed.is_set():
                await asyncio.get_running_loop().sock_recv(client.socket, 300_000)
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("wire", [GET, GET.replace(b"1.1", b"1.0"), post(b"x" * 100)[:-1]])
async def test_a_client_that_never_takes_the_end_of_its_answer_is_let_go(wire: bytes) -> None:
    """What is left unsent when the call is over must not keep the connection for ever."""

    async def serve(call: ClientCall) -> None:
        await answer(call, b"x" * BIG)

    async with listening(serve, silence_s=0.4, keep_alive_s=0.4) as running:
        client = await running.client(receive_bytes=4096)
        await client.send(wire)
        await running.wait_connections(1)
        await running.wait_connections(0, 6)


@pytest.mark.parametrize(
    ("wire", "seconds"), [(GET, 0.8), (GET.replace(b"1.1", b"1.0"), 0.4), (post(b"x" * 100)[:-1], 2.6)]
)
async def test_a_client_that_takes_the_end_of_its_answer_late_gets_all_of_it(wire: bytes, seconds: float) -> None:
    async def serve(call: ClientCall) -> None:
        await answer(call, b"x" * BIG)

    async with listening(serve, keep_alive_s=0.4) as running:
        client = await running.client(receive_bytes=65536)
        await client.send(wire)
        await running.wait_connections(1)
        await asyncio.sleep(seconds)
        assert (await client.rest()).count(b"x") == BIG
