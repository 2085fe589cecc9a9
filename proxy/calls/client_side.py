"""The client's side of a call: the one reader of what it sends, who therefore also sees it leave."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive

_AHEAD = 4
"""Blocks read ahead of the upstream; then the client's connection is not read until the upstream has taken one."""


class ClientLeft(Exception):  # noqa: N818 - an event of every day, not an error
    """The client closed its connection before the call was over."""


class ClientSide:
    """Reads a request's body, and afterwards waits for the client's leaving.

    Nothing else may call `receive`: a server tells of a departure only there, and a body and a departure waited for in
    two places lose each other.
    """

    def __init__(self, receive: Receive) -> None:
        """Wrap the server's `receive`."""
        self._receive = receive
        self._blocks: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)

    async def first_block(self) -> tuple[bytes, bool]:
        """Return the first block of the body and whether more follows. Call it once, before anything else.

        Raises:
            ClientLeft: The client is gone already.
        """
        return await self._next()

    async def rest(self, first: bytes) -> AsyncIterator[bytes]:
        """Yield the body block by block, the first one again in front, while `watch` reads it."""
        yield first
        while (block := await self._blocks.get()) is not None:
            yield block

    async def watch(self, *, has_more: bool) -> None:
        """Read the rest of the body for `rest`, then wait; returns when the client has left."""
        try:
            while has_more:
                block, has_more = await self._next()
                await self._blocks.put(block)
            await self._blocks.put(None)
            while True:
                await self._next()
        except ClientLeft:
            return

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        return message.get("body", b""), message.get("more_body", False)
