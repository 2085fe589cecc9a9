"""The answer to one call on its way from an upstream's connection to whoever reads it.

Blocks are kept as they came. What is there is given without a round trip through the event loop, and when too much of
it lies unread, the connection stops reading: the reader's pace is the upstream's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import httpx2 as httpx

from proxy.wire.fields import Fields
from proxy.wire.head import ResponseHead

MAX_UNREAD_BYTES = 128 * 1024
"""Above this a connection stops reading; one read more may have been under way (256 KiB on asyncio's own loop)."""
_RESUME_BELOW = MAX_UNREAD_BYTES // 2
_MAX_UNREAD_BLOCKS = 1024
"""And above this, however small they are: a block of two bytes takes fifty in memory."""


Sink = Callable[[bytes], bool]
"""Takes a block; tells whether the next one may follow at once."""


class AnswerSource(Protocol):
    """The connection that an answer comes from."""

    def resume_reading(self) -> None:
        """Read on."""

    async def abandon(self) -> None:
        """End the call, whatever of it is still under way; when this is cancelled, it has ended all the same."""

    def abort(self) -> None:
        """End the call and the connection at once."""


class AnswerStream(httpx.AsyncByteStream):
    """One answer: its head, then its blocks, then its trailers.

    Attributes:
        head: None until it has come.
        trailers: Filled when the body has ended.
        unread_bytes: What has come and has not been read.
        is_whole: Whether the body has ended as it should.
        error: What ended the answer before its end; raised behind the blocks that came before it.
    """

    def __init__(self, source: AnswerSource, loop: asyncio.AbstractEventLoop) -> None:
        """Begin without a head; `source` is told about the reader's pace and its leaving."""
        self._loop = loop
        self.head: ResponseHead | None = None
        self.trailers: Fields = []
        self.unread_bytes = 0
        self.error: Exception | None = None
        self._source: AnswerSource | None = source
        self._blocks: deque[bytes] = deque()
        self.is_whole = False
        self._is_held = False
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None

    # What the connection says.

    def begin(self, head: ResponseHead) -> None:
        """Take the head."""
        self.head = head
        self._wake()

    def put(self, blocks: list[bytes]) -> bool:
        """Take the next blocks; tell whether there is room for more."""
        if self._sink is not None:
            blocks = self._pour(blocks, self._sink)
            if not blocks:
                return True
        self._blocks += blocks
        for block in blocks:
            self.unread_bytes += len(block)
        self._wake()
        self._is_held = self.unread_bytes > MAX_UNREAD_BYTES or len(self._blocks) > _MAX_UNREAD_BLOCKS
        return not self._is_held

    def finish(self, trailers: Fields) -> None:
        """Say that the body has ended; the connection may still be sending the request."""
        self.is_whole = True
        self.trailers += trailers
        self._wake()

    def fail(self, error: Exception) -> None:
        """Say that nothing more will come."""
        if not self.is_whole and self.error is None:
            self.error = error
        self._source = None
        self._wake()

    def let_go(self) -> None:
        """Say that the connection has nothing more to do with this call."""
        self._source = None

    # What the reader asks.

    async def wait_head(self) -> ResponseHead:
        """Return the head as soon as it has come.

        Raises:
            Exception: What came in its place.
        """
        while self.head is None:
            if self.error is not None:
                raise self.error
            await self._changed()
        return self.head

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._blocks:
            if self.error is not None:
                raise self.error
            if self.is_whole:
                raise StopAsyncIteration
            try:
                await self._changed()
            except asyncio.CancelledError:
                self._abort()
                raise
        return self._take()

    async def pour(self, sink: Sink) -> bool:
        """Give every block to a sink, in the very turn of the loop that brings it; returns when it wants no more now.

        A reader that is woken for each block costs another turn, which is a third of what a short block costs at all.

        Returns:
            False at the end of the answer.
        """
        while True:
            while self._blocks:
                if not sink(self._take()):
                    return True
            if self.error is not None:
                raise self.error
            if self.is_whole:
                return False
            self._sink = sink
            try:
                await self._changed()
                if self._sink is None:
                    return True
            except asyncio.CancelledError:
                self._abort()
                raise
            finally:
                self._sink = None

    async def aclose(self) -> None:
        """End the call; an answer that is complete, with its request sent, leaves its connection in use."""
        source, self._source = self._source, None
        if not self.is_whole and self.error is None:
            self.error = httpx.StreamClosed()
        self._blocks.clear()
        if source is not None:
            await source.abandon()

    def _changed(self) -> asyncio.Future[None]:
        """Return what is done when the connection has said more."""
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("an answer is read by one task at a time")
        self._waiter = self._loop.create_future()
        return self._waiter

    def _abort(self) -> None:
        """End the call of a reader that waits no longer."""
        if self._source is not None:
            self._source.abort()

    def _take(self) -> bytes:
        """Return the next block, and have the connection read on when little is left."""
        block = self._blocks.popleft()
        self.unread_bytes -= len(block)
        if self._is_held and self.unread_bytes < _RESUME_BELOW and len(self._blocks) < _MAX_UNREAD_BLOCKS:
            self._is_held = False
            if self._source is not None:
                self._source.resume_reading()
        return block

    def _pour(self, blocks: list[bytes], sink: Sink) -> list[bytes]:
        """Give blocks to the sink; return those it does not want yet."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return blocks
        try:
            for number, block in enumerate(blocks, 1):
                if not sink(block):
                    self._sink = None
                    waiter.set_result(None)
                    return blocks[number:]
        except Exception as error:  # noqa: BLE001 - the reader's own, so it is the reader who hears of it
            self._sink = None
            waiter.set_exception(error)
        return []

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
