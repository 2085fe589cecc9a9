"""A client's socket: what was sent over it and is not taken yet, and whether the client is still there.

What a client has to take, it may take slowly, but not stop taking. One whose bytes are not read for the time being is
looked at now and then, for only the kernel knows when it has left.
"""

import asyncio
import contextlib
import socket
import struct
from typing import cast

from proxy.wire.deadline import Deadline
from proxy.wire.peer import has_left, untaken_bytes

_DEPARTURE_LOOK_S = 0.25
"""How often a connection that is not read is looked at: it must end its call within a second (`docs/contract.md`)."""


class ClientSocket:
    """The transport of a client's connection.

    Attributes:
        is_full: Whether the client takes less than it is sent.
        is_unread: Whether what the client sends is left in its socket for the time being.
        is_ending: Whether no more is sent or read, but for what is on its way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, silence_s: float) -> None:
        """Begin without a transport; who takes nothing for `silence_s` is cut off."""
        self.is_full = self.is_unread = self.is_ending = False
        self._loop = loop
        self._silence_s = silence_s
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._writable: asyncio.Future[None] | None = None
        self._untaken_bytes = 0
        self._taking = Deadline(loop, self._on_nothing_taken)
        self._look: asyncio.TimerHandle | None = None

    def open(self, transport: asyncio.Transport) -> None:
        """Take the transport."""
        self._transport = transport

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent or read any more."""
        return self._transport.is_closing()

    # Sending.

    def write(self, data: bytes) -> None:
        """Send bytes; does nothing when the client is gone."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> None:
        """Return when the client has taken what was sent, or is gone; one that takes nothing is cut off."""
        if self.is_full:
            self._writable = self._loop.create_future()
            await self._writable

    def hold_writing(self) -> None:
        """Note that the client takes less than it is sent."""
        self.is_full = True
        self._expect_taking()

    def release_writing(self) -> None:
        """Note that it has caught up, or is gone."""
        self.is_full = False
        if not self.is_ending:
            self._taking.move(None)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def count_untaken(self) -> int:
        """Return how many of the bytes that were sent the client has not taken, as far as this machine knows."""
        raw = self._transport.get_extra_info("socket")
        return self._transport.get_write_buffer_size() + (untaken_bytes(raw.fileno()) if raw is not None else 0)

    def _expect_taking(self) -> None:
        self._untaken_bytes = self.count_untaken()
        self._taking.move(self._silence_s if self._untaken_bytes else None)

    def _on_nothing_taken(self) -> None:
        """Cut a client off that has taken nothing of what it was sent since it was looked at last."""
        if self.count_untaken() < self._untaken_bytes:
            self._expect_taking()
        else:
            self._transport.abort()

    # Reading.

    def pause_reading(self) -> None:
        """Leave what the client sends in its socket, and look whether it is still there."""
        if not self.is_unread and not self.is_ending:
            self.is_unread = True
            self._transport.pause_reading()
            if self._look is None:
                self._look = self._loop.call_later(_DEPARTURE_LOOK_S, self._look_for_departure)

    def resume_reading(self) -> None:
        """Read on."""
        if self.is_unread and not self._transport.is_closing():
            self.is_unread = False
            self._transport.resume_reading()

    def _look_for_departure(self) -> None:
        self._look = None
        if not self.is_unread or self._transport.is_closing():
            return
        if has_left(self._transport.get_extra_info("socket")):
            self._transport.abort()
        else:
            self._look = self._loop.call_later(_DEPARTURE_LOOK_S, self._look_for_departure)

    # Ending.

    def end_sending(self) -> None:
        """Send no more, but go on reading: closed at once, the connection would be reset under what was sent."""
        self.resume_reading()
        self.is_ending = True
        if self._transport.is_closing():
            return
        with contextlib.suppress(OSError):  # a client that is gone cannot be told of the end
            self._transport.write_eof()
        self._expect_taking()

    def close(self) -> None:
        """Close when what was sent has left, however slowly."""
        self.is_ending = True
        if not self._transport.is_closing():
            self._expect_taking()
            self._transport.close()

    def make_end_a_reset(self) -> None:
        """Have the connection end with a reset, where its end alone would look like that of the answer."""
        if not self._transport.is_closing():
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def take_end(self) -> None:
        """Take the end of the connection."""
        self.is_ending = True
        self.release_writing()
        self._taking.stop()
        if self._look is not None:
            self._look.cancel()
