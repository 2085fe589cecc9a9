"""From a name to a connected socket.

Names are looked up by the platform, for each connection anew. Several addresses are tried one after the other without
waiting for each to fail (RFC 8305), which uvloop does not do by itself.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest

_HEAD_START_S = 0.25
"""How much sooner an address is tried than the next one (RFC 8305, 5)."""

Address = tuple[socket.AddressFamily, tuple[object, ...]]
"""What `socket.connect` takes, with its family."""


async def find_addresses(host: str, port: int) -> list[Address]:
    """Return the host's addresses in the platform's order, the families taking turns (RFC 8305, 4).

    Raises:
        OSError: Nobody knows the name.
        UnicodeError: It can be no name.
    """
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        pass
    else:
        return [(socket.AF_INET6 if version == 6 else socket.AF_INET, (host, port))]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses: list[Address] = [(family, address) for family, _, _, _, address in found]
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]


async def connect_first(addresses: Sequence[Address]) -> socket.socket:
    """Return a socket that is connected to the first of the addresses to answer; the other attempts are given up.

    Raises:
        OSError: None can be connected to; the error is that of the address that failed first.
    """
    loop = asyncio.get_running_loop()
    waiting = list(addresses)
    tries: dict[asyncio.Task[None], socket.socket] = {}
    errors: list[OSError] = []
    try:
        while waiting or tries:
            if waiting:
                family, address = waiting.pop(0)
                tried = socket.socket(family, socket.SOCK_STREAM)
                tried.setblocking(False)
                tries[loop.create_task(_connect(tried, address), name="connect")] = tried
            done, _ = await asyncio.wait(
                tries, timeout=_HEAD_START_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                failure = task.exception()
                if failure is None:
                    return tries.pop(task)
                tries.pop(task).close()
                errors.append(failure if isinstance(failure, OSError) else OSError(str(failure)))
        raise errors[0]
    finally:
        for task in tries:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            if tries:
                await asyncio.wait(tries)
        for each in tries.values():
            each.close()


async def _connect(tried: socket.socket, address: tuple[object, ...]) -> None:
    """Connect without blocking; uvloop's own `sock_connect` would look the address up once more, in a thread."""
    number = tried.connect_ex(address)
    if number == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(tried.fileno(), writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(tried.fileno())
        number = tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
