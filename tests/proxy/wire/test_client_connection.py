"""Connections of clients: one request after the other in any pieces, within bounds, and what another protocol has."""

import asyncio
import json
import time

import pytest

from proxy.errors import BodyTooLargeError, ProxyError
from proxy.wire.client_call import ClientCall
from tests.proxy.wire.listening import BIG, CHUNKED, GET, answer, echo, listening, post, wait_until

# One request after the other.


async def test_requests_in_one_packet_are_answered_in_their_order() -> None:
    async with listening(echo) as running:
        client = await running.client()
        wire = b"".join(post(b"body %d\n" % number) for number in range(50))
        await client.send(wire + CHUNKED + b"5\r\nlast\n\r\n0\r\n\r\n")
        for number in range(50):
            assert (await client.until(b"\n")).endswith(b"200 OK\r\n")
            assert (await client.until(b" body %d\n" % number)).endswith(b"/v1/chat body %d\n" % number)
        await client.until(b"/v1/chat last\n")


async def test_a_request_in_single_bytes_is_the_same_request() -> None:
    async with listening(echo) as running:
        client = await running.client()
        for wire in (post(b"hello\n"), CHUNKED + b"6\r\nhello\n\r\n0\r\n\r\n"):
            for place in range(len(wire)):
                await client.send(wire[place : place + 1])
                await asyncio.sleep(0)
            await client.until(b"/v1/chat hello\n")


async def test_the_next_request_waits_until_the_one_before_is_answered() -> None:
    may_end = asyncio.Event()
    begun: list[bytes] = []

    async def serve(call: ClientCall) -> None:
        begun.append(call.head.target)
        await may_end.wait()
        await answer(call)

    async with listening(serve) as running:
        client = await running.client()
        await client.send(GET * 2)
        await wait_until(lambda: bool(begun))
        await asyncio.sleep(0.02)
        assert len(begun) == 1
        may_end.set()
        await client.until(b"ok")
        await client.until(b"ok")


async def test_a_connection_that_sent_far_ahead_is_read_on_when_its_turn_comes() -> None:
    """Requests behind a call are left in the socket past a bound, and none of them is forgotten there."""
    may_end = asyncio.Event()
    bodies: list[bytes] = []

    async def serve(call: ClientCall) -> None:
        await may_end.wait()
        blocks = []
        while block := await call.read():
            blocks.append(block)
        bodies.append(b"".join(blocks))
        await answer(call)

    async with listening(serve) as running:
        client = await running.client()
        sent = [bytes([65 + number]) * 300_000 for number in range(8)]
        sending = asyncio.create_task(client.send(b"".join(map(post, sent))))
        await asyncio.sleep(0.05)
        may_end.set()
        await sending
        for _ in sent:
            await client.until(b"ok")
        assert bodies == sent
        await client.send(GET)
        await client.until(b"ok")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304])
async def test_a_connection_lives_on_after_answers_without_a_body(method: bytes, status: int) -> None:
    async def serve(call: ClientCall) -> None:
        call.begin_answer(status, b"Fine", [(b"x-n", call.head.target)], has_body=False)
        call.finish([])

    async with listening(serve) as running:
        client = await running.client()
        for number in range(3):
            await client.send(b"%b /%d HTTP/1.1\r\nHost: h\r\n\r\n" % (method, number))
            assert (await client.until(b"\r\n\r\n")).endswith(b"%d Fine\r\nx-n: /%d\r\n\r\n" % (status, number))
        assert running.listener.open_connections == 1


@pytest.mark.parametrize(
    "request_", [GET.replace(b"1.1", b"1.0"), GET[:-2] + b"Connection: close\r\n\r\n",
                 GET[:-2] + b"Connection: keep-alive\r\nConnection: close\r\n\r\n",
                 GET[:-2] + b"Connection: x, Close\r\n\r\n"],
)  # fmt: skip
async def test_a_request_that_is_to_be_the_last_one_is(request_: bytes) -> None:
    async with listening(answer) as running:
        client = await running.client()
        await client.send(request_ + GET)
        received = await client.rest()
        assert received.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in received


async def test_an_answer_that_comes_before_the_body_is_whole_is_readable_by_a_client_that_is_still_sending() -> None:
    async with listening(answer) as running:
        client = await running.client()
        await client.send(post(b"x" * 500_000)[:1000])
        await client.until(b"ok")
        sending = asyncio.create_task(client.send(b"x" * 3_000_000))
        assert await client.rest() == b""
        await sending


# Bounds.


async def test_a_head_of_exactly_its_bound_is_read_and_a_byte_more_is_refused() -> None:
    async with listening(answer, max_head_bytes=1024) as running:
        for size, status in ((1024, b"200"), (1025, b"431")):
            client = await running.client()
            await client.send(GET[:-2] + b"a: " + b"b" * (size - len(GET) - 5) + b"\r\n\r\n")
            assert b" " + status + b" " in await client.until(b"\r\n")
        client = await running.client()
        await client.send(b"GET /" + b"a" * 1024)
        assert b" 414 " in await client.until(b"\r\n")
        assert running.refusals == [431, 414]


async def test_a_sized_body_past_its_bound_is_known_before_a_byte_of_it() -> None:
    failures: list[ProxyError | None] = []

    async def serve(call: ClientCall) -> None:
        failures.append(call.failure)
        await answer(call, status=413)

    async with listening(serve, max_body_bytes=1000) as running:
        client = await running.client()
        await client.send(post(b"x" * 1001)[:-1001])
        assert b" 413 " in await client.until(b"ok")
        assert await client.rest() == b""
    assert isinstance(failures[0], BodyTooLargeError)


async def test_a_chunked_body_past_its_bound_ends_in_its_middle() -> None:
    async def serve(call: ClientCall) -> None:
        try:
            while await call.read():
                pass
        except BodyTooLargeError:
            await answer(call, status=413)

    async with listening(serve, max_body_bytes=1000) as running:
        client = await running.client()
        await client.send(CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\ny")
        assert b" 413 " in await client.until(b"ok")
        await client.send(b"z" * 1_000_000)
        assert await client.rest() == b""


async def test_connections_past_the_bound_are_told_to_try_again_and_later_ones_are_served() -> None:
    async with listening(answer, max_connections=2) as running:
        first, second = await running.client(), await running.client()
        await running.wait_connections(2)
        third = await running.client()
        refusal = (await third.rest()).lower()
        assert refusal.startswith(b"http/1.1 503 ")
        assert b"retry-after: 1" in refusal
        assert json.loads(refusal.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_many_connections"
        await first.send(GET)
        await first.until(b"ok")
        second.close()
        await running.wait_connections(1)
        fourth = await running.client()
        await fourth.send(GET)
        await fourth.until(b"ok")


async def test_a_head_in_single_bytes_costs_no_more_than_its_length() -> None:
    """Whoever sends a large head in small pieces must not keep the worker busy."""
    size = 200_000
    async with listening(answer, max_head_bytes=size + 100) as running:
        client = await running.client()
        wire = GET[:-2] + b"a: " + b"b" * size + b"\r\n\r\n"
        began = time.process_time()
        for place in range(0, len(wire), 10):
            await client.send(wire[place : place + 10])
            await asyncio.sleep(0)
        await client.until(b"ok")
        assert time.process_time() - began < 4


async def test_a_million_chunks_of_a_byte_are_read_in_little_time() -> None:
    async with listening(answer_length, max_body_bytes=10_000_000) as running:
        client = await running.client()
        began = time.process_time()
        await client.send(CHUNKED + b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n")
        await client.until(b"300000")
        assert time.process_time() - began < 4


async def test_what_comes_ahead_in_tiny_chunks_is_bounded_by_their_number() -> None:
    """Two bytes take fifty in memory: a bound on content alone would let a stuck upload take five megabytes."""
    calls: list[ClientCall] = []
    may_go_on = asyncio.Event()

    async def serve(call: ClientCall) -> None:
        calls.append(call)
        await may_go_on.wait()
        await answer_length(call)

    async with listening(serve) as running:
        client = await running.client()
        await client.send(CHUNKED)
        for _ in range(3_000):
            await client.send(b"2\r\nab\r\n")
            await asyncio.sleep(0)
        assert 2_000 < calls[0].received_bytes < 2_500
        may_go_on.set()
        await client.send(b"0\r\n\r\n")
        await client.until(b"6000")


async def answer_length(call: ClientCall) -> None:
    length = 0
    while block := await call.read():
        length += len(block)
    await answer(call, b"%d" % length)


# Another protocol.

UPGRADE = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def echo_tunnel(call: ClientCall) -> None:
    call.on_departure = lambda: call.end_body([])
    call.begin_tunnel([(b"connection", b"upgrade"), (b"upgrade", b"websocket")], b"Switching Protocols")
    while block := await call.read():
        call.send(block)
        if call.is_full:
            await call.drained()
    call.send(b"bye")
    call.finish([])


async def test_a_tunnel_has_every_byte_and_no_bounds_of_a_body() -> None:
    async with listening(echo_tunnel, max_body_bytes=1000, silence_s=0.2) as running:
        client = await running.client()
        await client.send(UPGRADE + b"early")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await client.until(b"early")
        await asyncio.sleep(0.5)
        sending = asyncio.create_task(client.send(b"x" * 5_000_000 + b"end"))
        assert len(await client.until(b"end")) == 5_000_003
        await sending


async def test_the_last_bytes_of_a_tunnel_reach_a_client_that_reads_late() -> None:
    async def serve(call: ClientCall) -> None:
        call.begin_tunnel([], b"Switching Protocols")
        call.send(b"x" * BIG)
        call.finish([])

    async with listening(serve) as running:
        client = await running.client(receive_bytes=65536)
        await client.send(UPGRADE)
        await client.until(b"\r\n\r\n")
        await asyncio.sleep(2.6)
        assert len(await client.rest()) >= BIG - 70_000


async def test_looking_for_departures_takes_one_timer_however_often_reading_pauses() -> None:
    loop = asyncio.get_running_loop()

    async def serve(call: ClientCall) -> None:
        length = 0
        while block := await call.read():
            length += len(block)
            await asyncio.sleep(0.001)
        await answer(call, b"%d" % length)

    async with listening(serve, max_body_bytes=1 << 30) as running:
        client = await running.client()
        sending = asyncio.create_task(client.send(post(b"x" * BIG)))
        await client.until(b"%d" % BIG)
        await sending
        timers = [handle for handle in getattr(loop, "_scheduled", []) if "_look" in repr(handle)]
        assert len(timers) <= 4


async def test_what_one_client_sends_ahead_takes_turns_with_what_others_send() -> None:
    """One task serves a connection's calls: without a pause it would serve them all before anybody else's."""
    served: list[bytes] = []

    async def note(call: ClientCall) -> None:
        served.append(call.head.target)
        await answer(call)

    async with listening(note) as server:
        hurried, patient = await server.client(), await server.client()
        await hurried.send(b"".join(b"GET /hurried HTTP/1.1\r\nHost: h\r\n\r\n" for _ in range(100)))
        await patient.send(b"GET /patient HTTP/1.1\r\nHost: h\r\n\r\n")
        await patient.until(b"\r\n\r\n")
        assert served.index(b"/patient") < 100
        await wait_until(lambda: len(served) == 101)
