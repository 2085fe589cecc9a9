"""A transport with its flow control: who sends waits for the other end, who is slow to read holds it up."""

import asyncio
import select
from typing import Any

import httpx2 as httpx

from proxy.wire.peer import untaken_bytes

_WRITE_BUFFER_BYTES = 1
"""Whatever the kernel does not take at once holds the writer, so that what is unsent is always known; uvloop, too, then
writes at once and not at the end of its turn."""
_MAX_JOINED_BYTES = 64 * 1024
"""Two pieces up to this size leave in one packet; larger ones are not worth the copy."""


class PacedSocket:
    """The sending and reading side of a connected transport.

    Attributes:
        is_write_held: Whether the other end takes less than we send.
        is_read_held: Whether we read nothing for the time being.
        loop: The transport's.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.is_write_held = self.is_read_held = False
        self.is_plain = transport.get_extra_info("ssl_object") is None
        self.loop = loop
        self._transport = transport
        self._writable: asyncio.Future[None] | None = None
        self._arrivals = select.poll()
        self._fileno = transport.get_extra_info("socket").fileno()
        self._arrivals.register(self._fileno, select.POLLIN)

    def begin_pace(self) -> None:
        """Have the protocol told when writers have to wait; TLS may say so at once."""
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES, low=0)

    def has_arrivals(self) -> bool:
        """Tell whether bytes, or the end of the connection, have arrived and were not read yet."""
        return bool(self._arrivals.poll(0))

    def is_closing(self) -> bool:
        """Tell whether the transport is closing or closed."""
        return self._transport.is_closing()

    def unsent_bytes(self) -> int:
        """Return how much of what was written waits on this machine's side of the socket."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def untaken_bytes(self) -> int:
        """Return how much of what was written the other end has not taken: unsent, or sent and not acknowledged."""
        return self.unsent_bytes() + untaken_bytes(self._fileno)

    def extra_info(self, name: str) -> Any:  # noqa: ANN401 - asyncio's own
        """Return what asyncio's transport knows by this name."""
        return self._transport.get_extra_info(name)

    def write(self, head: bytes, body: bytes) -> None:
        """Write both without waiting; to nobody, when the connection is closed."""
        if self._transport.is_closing():
            return
        if len(body) <= _MAX_JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    async def write_at_pace(self, data: bytes) -> None:
        """Write, and come back when there is room for more, or no connection.

        What waits to be read is read first: writing to an upstream that has answered and closed would reset the
        connection, and the answer with it.

        Raises:
            httpx.WriteError: There is no connection any more.
        """
        if self.has_arrivals():
            await asyncio.sleep(0)
        if self._transport.is_closing():
            raise httpx.WriteError("the connection is closed")
        self._transport.write(data)
        while self.is_write_held and not self._transport.is_closing():
            self._writable = self.loop.create_future()
            await self._writable

    def hold_writing(self) -> None:
        """Make writers wait."""
        self.is_write_held = True

    def release_writing(self) -> None:
        """Let writers go on."""
        self.is_write_held = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def pause_reading(self) -> None:
        """Read no further: somebody is slow to take what is here."""
        if not self.is_read_held and not self._transport.is_closing():
            self.is_read_held = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.is_read_held:
            self.is_read_held = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def close(self) -> None:
        """Close politely: TLS says goodbye."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
        self.release_writing()
