"""A listening socket and the connections that come over it, from the first to the last."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress

from proxy.wire.client_call import ClientCall
from proxy.wire.client_connection import ClientConnection
from proxy.wire.client_connections import ClientConnections, ClientLimits

_BACKLOG = 2048
_IDLE_GRACE_S = 0.25


class Listener:
    """Serves calls over one socket until it is told to stop."""

    def __init__(
        self,
        serve: Callable[[ClientCall], Coroutine[None, None, None]],
        limits: ClientLimits,
        on_refusal: Callable[[int], None],
    ) -> None:
        """Serve nothing yet.

        Args:
            serve: Serves one call; ends when the answer is complete or broken off.
            limits: What one client may take.
            on_refusal: Told the status of each request that was none.
        """
        self._connections = ClientConnections(serve, limits, on_refusal)
        self._server: asyncio.Server | None = None

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections.all)

    async def open(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket, which others may be sharing."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: ClientConnection(self._connections), sock=listener, backlog=_BACKLOG
        )

    async def drain(self, seconds: float) -> None:
        """Accept nobody any more and wait until the calls in flight are done, but not longer than told."""
        self._connections.is_stopping = True
        if self._server is not None:
            self._server.close()
        if any(connection.is_idle for connection in self._connections.all):
            # The next request may be on its way: closed now, the connection would be reset under it. It is answered
            # instead, with the word that it was the last one there (RFC 9112, 9.6).
            await asyncio.sleep(min(_IDLE_GRACE_S, seconds))
        for connection in list(self._connections.all):
            connection.close_if_idle()
        if self._connections.all or self._connections.tasks:
            self._connections.is_empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._connections.is_empty.wait()

    async def close(self) -> None:
        """End what is still in flight."""
        for connection in list(self._connections.all):
            connection.abort()
        tasks = list(self._connections.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
