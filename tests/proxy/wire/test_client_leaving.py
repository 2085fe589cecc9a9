"""A client that leaves ends its call, however it leaves; an answer that has no end shows that it has none."""

import asyncio

import pytest

from proxy.wire.client_call import ClientCall
from tests.proxy.wire.listening import BIG, CHUNKED, GET, Client, answer, listening, post, wait_until


async def test_a_client_that_leaves_ends_its_call_at_once_however_it_leaves() -> None:
    ended: list[str] = []

    async def serve(call: ClientCall) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled" if call.is_departed else "stopped")
            raise

    async with listening(serve) as running:
        for leave in (Client.close, Client.reset, Client.half_close):
            for wire in (GET, post(b"hello")[:-2], CHUNKED + b"5\r\nhe"):
                client = await running.client()
                await client.send(wire)
                await running.wait_connections(1)
                await asyncio.sleep(0.01)
                leave(client)
                await running.wait_connections(0, 2)
    assert ended == ["cancelled"] * 9


async def test_a_client_that_closes_its_side_has_left_even_when_it_reads_nothing() -> None:
    ended = asyncio.Event()

    async def serve(call: ClientCall) -> None:
        try:
            call.begin_answer(200, b"OK", [], has_body=True)
            while not call.is_full:
                call.send(b"x" * 10_000)
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with listening(serve, silence_s=1) as running:
        client = await running.client(receive_bytes=4096)
        await client.send(GET)
        await client.until(b"xxx")
        client.half_close()
        async with asyncio.timeout(2):
            await ended.wait()
        await running.wait_connections(0, 5)


async def test_a_client_whose_body_is_not_read_is_seen_leaving() -> None:
    ended = asyncio.Event()

    async def serve(_call: ClientCall) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with listening(serve, max_body_bytes=1 << 30) as running:
        for leave in (Client.close, Client.reset, Client.half_close):
            ended.clear()
            client = await running.client()
            await client.send(post(b"x" * BIG)[:600_000])  # not so much that the end would have no room behind it
            await running.wait_connections(1)
            await asyncio.sleep(0.1)
            leave(client)
            async with asyncio.timeout(2):
                await ended.wait()
            await running.wait_connections(0)


async def test_a_client_that_left_before_its_call_was_begun_is_known_to_have() -> None:
    known: list[tuple[bool, bool]] = []

    async def serve(call: ClientCall) -> None:
        known.append((call.is_departed, call.failure is not None))

    async with listening(serve) as running:
        for leave in (Client.close, Client.reset):
            client = await running.client()
            client.socket.setblocking(True)
            client.socket.sendall(GET)
            leave(client)
            await running.wait_connections(0)
            await asyncio.sleep(0.02)
    assert all(departed == failed for departed, failed in known)


async def test_what_is_written_to_a_client_that_left_goes_nowhere_and_harms_nobody() -> None:
    """A call may have to go on without its client."""
    outcomes: list[bool] = []

    async def serve(call: ClientCall) -> None:
        call.on_departure = lambda: None
        call.begin_answer(200, b"OK", [], has_body=True)
        call.send(b"begin")
        await wait_until(lambda: call.is_departed)
        for _ in range(50):
            call.send(b"x" * 100_000)
            if call.is_full:
                await call.drained()
            await asyncio.sleep(0)
        call.interim(102, b"Processing", [])
        call.finish([])
        outcomes.append(call.is_answered)

    async with listening(serve) as running:
        for leave in (Client.close, Client.reset, Client.half_close):
            client = await running.client()
            await client.send(GET)
            await client.until(b"begin")
            leave(client)
            await running.wait_connections(0)
        await wait_until(lambda: len(outcomes) == 3)
    assert outcomes == [True] * 3


@pytest.mark.parametrize("wire", [b"\x16\x03\x01", b"GET / HTTP/1.1\n", b"GET / HTTP/3.0\r\n\r\n", b"GET /"])
async def test_a_client_that_sends_garbage_and_leaves_makes_no_noise(wire: bytes) -> None:
    async with listening(answer) as running:
        for leave in (Client.close, Client.reset, Client.half_close):
            for _ in range(10):
                client = await running.client()
                client.socket.setblocking(True)
                client.socket.sendall(wire)
                leave(client)
        await asyncio.sleep(0.05)
        for client in running.clients:
            client.close()
        await running.wait_connections(0)


async def test_an_answer_without_an_end_is_cut_so_that_it_shows() -> None:
    async def serve(call: ClientCall) -> None:
        call.begin_answer(200, b"OK", [], has_body=True)
        call.send(b"begin")
        call.cut()

    async with listening(serve) as running:
        client = await running.client()
        await client.send(GET)
        assert (await client.rest()).endswith(b"5\r\nbegin\r\n")
        client = await running.client()
        await client.send(GET.replace(b"1.1", b"1.0"))
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_a_cut_answer_of_a_known_size_keeps_what_was_sent_of_it() -> None:
    """Its client counts: no reset is needed, which would take bytes away that are under way."""

    async def serve(call: ClientCall) -> None:
        call.begin_answer(200, b"OK", [(b"content-length", b"10")], has_body=True)
        call.send(b"begin")
        call.cut()

    async with listening(serve) as running:
        for wire in (GET, GET[:-2] + b"Connection: close\r\n\r\n"):
            client = await running.client()
            await client.send(wire)
            assert (await client.rest()).endswith(b"\r\n\r\nbegin")


async def test_a_head_that_nothing_followed_leaves_when_the_call_ends_any_way() -> None:
    async def serve(call: ClientCall) -> None:
        call.begin_answer(200, b"OK", [(b"x-a", b"b")], has_body=True)
        if call.head.target == b"/raise":
            raise asyncio.CancelledError
        if call.head.target == b"/finish":
            call.finish([])

    async with listening(serve) as running:
        for target, end in ((b"/cut", b""), (b"/raise", b""), (b"/finish", b"0\r\n\r\n")):
            client = await running.client()
            await client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
            head = await client.until(b"\r\n\r\n")
            assert b"x-a: b" in head
            if end:
                await client.until(end)
            else:
                assert await client.rest() == b""
