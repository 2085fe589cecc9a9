"""A connection after 101 Switching Protocols: bytes both ways, in whatever protocol the two ends agreed on.

It follows the convention of httpcore's `AsyncNetworkStream`, which httpx hands out as `extensions["network_stream"]`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx

from proxy.wire.paced_socket import PacedSocket

_MAX_UNREAD_BYTES = 128 * 1024


class UpgradedStream:
    """The upstream's end of an upgraded connection."""

    def __init__(self, paced: PacedSocket, close: Callable[[], Awaitable[None]]) -> None:
        """Take over the socket; `close` ends the connection."""
        self._socket = paced
        self._close = close
        self._unread = bytearray()
        self._is_held = False
        self._has_ended = False
        self._error: Exception | None = None
        self._arrived = asyncio.Event()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's own
        """Return what has come, at least a byte; empty when the upstream has closed.

        Raises:
            httpx.ReadTimeout: Nothing came for `timeout` seconds.
            httpx.ReadError: The connection broke.
        """
        if not self._unread and not self._has_ended:
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError as error:
                raise httpx.ReadTimeout(f"nothing came over the upgraded connection for {timeout:g} s") from error
        if not self._unread and self._error is not None:
            raise self._error
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if not self._unread and not self._has_ended:
            self._arrived.clear()
        if self._is_held and len(self._unread) < _MAX_UNREAD_BYTES:
            self._is_held = False
            self._socket.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's own
        """Send, and come back when there is room for more.

        Raises:
            httpx.WriteTimeout: The upstream took nothing for `timeout` seconds.
            httpx.WriteError: The connection is gone.
        """
        if self._has_ended:
            raise httpx.WriteError("the upgraded connection is closed")
        try:
            async with asyncio.timeout(timeout):
                await self._socket.write_at_pace(buffer)
        except TimeoutError as error:
            raise httpx.WriteTimeout(f"the upgraded connection took nothing for {timeout:g} s") from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self._close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's own
        """Return what asyncio's transport knows by this name, such as `socket` or `ssl_object`."""
        return self._socket.extra_info(info)

    def put(self, data: bytes) -> None:
        """Take what came off the socket."""
        self._unread += data
        self._arrived.set()
        if len(self._unread) > _MAX_UNREAD_BYTES and not self._is_held:
            self._is_held = True
            self._socket.pause_reading()

    def end(self, error: Exception | None) -> None:
        """Say that nothing more will come, and why when it is a failure."""
        self._has_ended = True
        self._error = error
        self._arrived.set()
