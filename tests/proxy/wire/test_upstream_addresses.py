import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from proxy.wire.addresses import Address, connect_first, find_addresses
from tests.process_state import open_sockets


@pytest.fixture
def living() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield (socket.AF_INET, listener.getsockname())


@pytest.fixture
def dead() -> Iterator[Address]:
    """An address that swallows every packet, as a broken route does: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield (socket.AF_INET, listener.getsockname())


async def test_an_address_that_does_not_answer_holds_up_nobody_for_long(dead: Address, living: Address) -> None:
    began = time.monotonic()
    with await connect_first([dead, living]) as connected:
        assert connected.getpeername() == living[1]
    assert 0.2 < time.monotonic() - began < 2


async def test_an_address_that_refuses_is_followed_by_the_next_at_once(living: Address) -> None:
    with socket.create_server(("127.0.0.3", 0)) as taken:
        refusing = (socket.AF_INET, taken.getsockname())
    began = time.monotonic()
    with await connect_first([refusing, living]) as connected:
        assert connected.getpeername() == living[1]
    assert time.monotonic() - began < 0.2
    with pytest.raises(ConnectionRefusedError):
        await connect_first([refusing, refusing])


async def test_attempts_that_are_given_up_leave_no_socket(dead: Address, living: Address) -> None:
    before = open_sockets(os.getpid())
    (await connect_first([dead, dead, living])).close()
    for delay in (0, 0.01, 0.3):
        attempt = asyncio.create_task(connect_first([dead, dead]))
        await asyncio.sleep(delay)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
    assert open_sockets(os.getpid()) == before
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_address_is_no_name_to_look_up() -> None:
    assert await find_addresses("::1", 80) == [(socket.AF_INET6, ("::1", 80))]
    assert await find_addresses("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert (socket.AF_INET, ("127.0.0.1", 80)) in await find_addresses("localhost", 80)
