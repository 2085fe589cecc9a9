"""HTTP clients for calls that run at once: each call in flight has one to itself.

One client for all would look at every idle connection of its pool for each call that begins or ends, to see whether it
is still open: with 32 calls at once, a fifth of all the time that asking takes.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2 as httpx

_TIMEOUT = httpx.Timeout(connect=10, read=300, write=60, pool=None)
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)


class HttpClients:
    """As many clients as were ever needed at once; the one that was used last is used first."""

    def __init__(self) -> None:
        self._idle: list[httpx.AsyncClient] = []
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client that nobody else uses until the block ends."""
        client = self._idle.pop() if self._idle else self._new()
        try:
            yield client
        finally:
            self._idle.append(client)

    async def aclose(self) -> None:
        """Close all clients; none may be in use."""
        for client in self._idle:
            await client.aclose()
        self._idle.clear()

    def _new(self) -> httpx.AsyncClient:
        if self._tls is None:
            # Reads all authorities of the machine, which takes 20 ms: once for all clients.
            self._tls = httpx.create_ssl_context()
        return httpx.AsyncClient(
            timeout=_TIMEOUT, limits=_LIMITS, verify=self._tls, headers={"user-agent": "tracemill"}
        )
