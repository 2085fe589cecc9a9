"""A client's connection: bytes to requests, one at a time, and answers back (RFC 9112, 9).

A request is served by a task of its own. The next one is read only when the answer to the one before it is complete,
so whatever a client sends ahead waits, up to a bound, and no answer can overtake another. What the grammar forbids is
answered here and closes the connection, before anything is asked of an upstream.

Each direction has a deadline of its own. What a client owes us depends on what is under way: the rest of a head, more
of a body, the next request, or the end of the connection. What it has to take, it may take slowly, but not stop taking.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import cast

from proxy.errors import BodyTooLargeError, ClientSilentError, FramingError, HeadError, ProxyError
from proxy.wire.client_call import ClientCall
from proxy.wire.deadline import Deadline
from proxy.wire.framing import BodyReader, CloseDelimitedBody, SizedBody
from proxy.wire.head import RequestHead
from proxy.wire.incoming_request import IncomingRequest
from proxy.wire.peer import has_left, untaken_bytes
from proxy.wire.refusal import encode_refusal

_log = logging.getLogger("tracemill.connection")

_LINGER_S = 2.0
"""How long a client may take to read an answer that was given before its body had come whole: closing at once would
reset the connection, and the answer with it (RFC 9112, 9.6)."""
_LINGER_BYTES = 8 * 1024 * 1024
"""What such a client may still send; one that goes on for ever is cut off."""
_DEPARTURE_LOOK_S = 0.25
"""How often a connection that is not read is looked at: it must end its call within a second (`docs/contract.md`)."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one client may take.

    Attributes:
        max_connections: Connections open at once.
        max_head_bytes: A request's line and fields.
        max_body_bytes: A request's body.
        head_timeout_s: From a head's first byte to its last.
        keep_alive_s: A connection without a call.
        silence_s: A client that sends no more of its body, or takes no more of its answer.
    """

    max_connections: int
    max_head_bytes: int
    max_body_bytes: int
    head_timeout_s: float
    keep_alive_s: float
    silence_s: float


@dataclass(slots=True)
class ClientConnections:
    """All connections of a listener, and what they have in common.

    Attributes:
        serve: Serves one call.
        on_refusal: Told the status of each request that was answered here.
        is_stopping: From then on every connection closes when its call is done.
        all: The open connections.
        tasks: Those that serve a call; some go on when their client is gone.
        is_empty: Set when the last of both is gone.
    """

    serve: Callable[[ClientCall], Coroutine[None, None, None]]
    limits: ClientLimits
    on_refusal: Callable[[int], None]
    is_stopping: bool = False
    all: set["ClientConnection"] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    is_empty: asyncio.Event = field(default_factory=asyncio.Event)

    def discard(self, connection: "ClientConnection | None", task: asyncio.Task[None] | None) -> None:
        """Forget what is gone."""
        if connection is not None:
            self.all.discard(connection)
        if task is not None:
            self.tasks.discard(task)
        if not self.all and not self.tasks:
            self.is_empty.set()


class ClientConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, connections: ClientConnections) -> None:
        """Make the protocol of a connection that is being accepted."""
        self.loop = asyncio.get_running_loop()
        self.is_full = False
        self._connections = connections
        self._limits = connections.limits
        self._max_body_bytes = self._limits.max_body_bytes
        self._transport: asyncio.Transport
        self._incoming = IncomingRequest(self._limits.max_head_bytes)
        self._ahead = bytearray()
        self._body: BodyReader | None = None
        self._call: ClientCall | None = None
        self._is_closing = False
        self._is_deaf = False
        self._discarded_bytes = 0
        self._is_paused = False
        self._is_tunnel = False
        self._writable: asyncio.Future[None] | None = None
        self._untaken_bytes = 0
        self._look: asyncio.TimerHandle | None = None
        self._sending = Deadline(self.loop, self._on_nothing_sent)
        self._taking = Deadline(self.loop, self._on_nothing_taken)

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or say that there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._connections.all) >= self._limits.max_connections:
            self._refuse(503, f"{self._limits.max_connections} connections are open; try again later")
            return
        self._connections.all.add(self)
        head_s = self._limits.head_timeout_s
        self._sending.move(min(head_s, _LINGER_S) if self.is_stopping else head_s)

    def data_received(self, data: bytes) -> None:
        """Take what came off the socket."""
        self._advance(data)

    def eof_received(self) -> bool:
        """Take the client's leaving: who closes its side of a call is gone, as for any other proxy."""
        call = self._call
        if call is not None:
            if not call.is_answered and not self._is_tunnel:
                call.cut()
            self._depart(call)
        self._close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was being served."""
        del exc
        self._is_closing = True
        self._connections.discard(self, None)
        self.resume_writing()
        self._sending.stop()
        self._taking.stop()
        if self._look is not None:
            self._look.cancel()
        if self._call is not None:
            self._depart(self._call)

    def pause_writing(self) -> None:
        """Note that the client takes less than it is sent."""
        self.is_full = True
        self._expect_taking()

    def resume_writing(self) -> None:
        """Note that it has caught up, or is gone."""
        self.is_full = False
        if not self._is_closing:
            self._taking.move(None)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # What a call asks for.

    @property
    def is_stopping(self) -> bool:
        """Whether the server stops, so that this connection ends with its call."""
        return self._connections.is_stopping

    def write(self, data: bytes) -> None:
        """Send bytes; does nothing when the client is gone."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> None:
        """Return when the client has taken what was sent, or is gone; one that takes nothing is cut off."""
        if self.is_full:
            self._writable = self.loop.create_future()
            await self._writable

    @contextlib.contextmanager
    def patience(self) -> Iterator[None]:
        """Bound the wait for more of a body; another protocol may be silent as long as it likes."""
        if self._is_tunnel or self._is_closing:
            yield
            return
        self._sending.move(self._limits.silence_s)
        try:
            yield
        finally:
            if not self._is_closing:
                self._sending.move(None)

    def pause_reading(self) -> None:
        """Leave what the client sends in its socket, and look whether it is still there."""
        if not self._is_paused and not self._is_closing:
            self._is_paused = True
            self._transport.pause_reading()
            if self._look is None:
                self._look = self.loop.call_later(_DEPARTURE_LOOK_S, self._look_for_departure)

    def resume_reading(self) -> None:
        """Read on."""
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def cut(self, *, is_end_visible: bool) -> None:
        """Close in the middle of an answer; by a reset where the end of the connection would look like its end."""
        if not is_end_visible and not self._transport.is_closing():
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def begin_tunnel(self) -> None:
        """Take every byte from here on as the call's."""
        self._is_tunnel = True
        self._body = CloseDelimitedBody()
        self._advance_with_rest()

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and no call is being served on it."""
        return self._call is None and not self._is_closing

    def close_if_idle(self) -> None:
        """Close a connection that nobody waits on; the others see that the server stops."""
        if not self.is_idle:
            return
        if self._incoming.is_begun:
            self._sending.move(min(self._limits.head_timeout_s, _LINGER_S))
        else:
            self._close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def bound_body(self, max_bytes: int) -> None:
        """Bound the body of the call that is being served."""
        call = self._call
        assert call is not None  # noqa: S101 - a call asks for it
        self._max_body_bytes = min(max_bytes, self._limits.max_body_bytes)
        said = self._body.length if isinstance(self._body, SizedBody) else call.received_bytes
        if said > self._max_body_bytes:
            self._stop_reading(call, BodyTooLargeError(self._max_body_bytes))

    # Reading requests.

    def _advance(self, data: bytes) -> None:
        """Go as far as the next bytes allow; keep what is behind the call that is being served."""
        while data:
            if self._is_closing or self._is_deaf:
                self._discard(data)
                return
            if self._body is not None:
                data = self._read_body(self._body, data)
            elif self._call is None:
                data = self._read_head(data)
            else:
                self._ahead += data
                if len(self._ahead) > self._limits.max_head_bytes:
                    self.pause_reading()
                return

    def _advance_with_rest(self) -> None:
        rest, self._ahead = bytes(self._ahead), bytearray()
        self._advance(rest)

    def _read_head(self, data: bytes) -> bytes:
        """Begin a call if its head is there; return what came behind it."""
        was_begun = self._incoming.is_begun
        try:
            found = self._incoming.feed(data)
        except HeadError as error:
            self._refuse(error.status, str(error))
            return b""
        if found is None:
            if self._incoming.is_begun and not was_begun:
                head_s = self._limits.head_timeout_s
                self._sending.move(min(head_s, _LINGER_S) if self.is_stopping else head_s)
            return b""
        self._begin_call(found.head, found.body)
        return found.rest

    def _begin_call(self, head: RequestHead, body: BodyReader) -> None:
        self._sending.move(None)
        self._max_body_bytes = self._limits.max_body_bytes
        call = ClientCall(self, head, body)
        self._call = call
        self._body = None if body.is_done else body
        self.bound_body(self._max_body_bytes)
        call.task = self.loop.create_task(self._serve(call))
        self._connections.tasks.add(call.task)
        call.task.add_done_callback(self._end_call)

    async def _serve(self, call: ClientCall) -> None:
        call.is_begun = True
        await self._connections.serve(call)

    def _read_body(self, body: BodyReader, data: bytes) -> bytes:
        """Hand on what is of the body; return what is not."""
        call = self._call
        assert call is not None  # noqa: S101 - a body is read for its call
        try:
            call.take_body(body.feed(data))
        except FramingError as error:
            self._stop_reading(call, error)
            return b""
        if call.received_bytes > self._max_body_bytes and not self._is_tunnel:
            self._stop_reading(call, BodyTooLargeError(self._max_body_bytes))
        elif body.is_done:
            self._body = None
            call.end_body(body.trailers)
        return body.rest

    def _stop_reading(self, call: ClientCall, error: ProxyError) -> None:
        """Let a call know that no more of its body comes; what the client still sends is thrown away."""
        self._body = None
        self._is_deaf = True
        call.fail_body(error)

    # Ending.

    def _end_call(self, task: asyncio.Task[None]) -> None:
        """Go on to the next request, or close."""
        self._connections.discard(None, task)
        call, self._call = self._call, None
        assert call is not None  # noqa: S101 - a task serves the connection's one call
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("serving a call failed", exc_info=error)
        if self._is_closing:
            return
        if not call.is_answered:
            call.cut()
        elif self._is_deaf or self._body is not None:
            self._linger()
        elif call.is_last or self.is_stopping:
            # What was sent ahead is not answered; unread, it would reset the connection, and the answer with it.
            if self._ahead or self._is_paused:
                self._linger()
            else:
                self._close()
        else:
            self._sending.move(self._limits.keep_alive_s)
            self.resume_reading()
            self._advance_with_rest()

    def _depart(self, call: ClientCall) -> None:
        if not call.is_departed:
            call.depart()

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that is none, and close."""
        self.write(encode_refusal(status, message))
        self._connections.on_refusal(status)
        self._linger()

    def _discard(self, data: bytes) -> None:
        """Throw away what a client sends that has its answer, or is getting it."""
        self._discarded_bytes += len(data)
        if self._discarded_bytes > _LINGER_BYTES:
            self._transport.abort()

    def _linger(self) -> None:
        """Let the client read the answer before the connection goes, though it may still be sending."""
        self.resume_reading()
        self._is_closing = True
        if self._transport.is_closing():
            return
        with contextlib.suppress(OSError):  # a client that is gone cannot be told of the end
            self._transport.write_eof()
        self._expect_taking()
        self._sending.move(_LINGER_S)

    def _close(self) -> None:
        """Close when what was sent has left, however slowly."""
        self._is_closing = True
        if not self._transport.is_closing():
            self._sending.move(None)
            self._expect_taking()
            self._transport.close()

    # Time.

    def _on_nothing_sent(self) -> None:
        """Give up what the client owed us."""
        if self._is_closing:
            if self._count_untaken():
                self._sending.move(_LINGER_S)
            else:
                self._transport.abort()
        elif self._call is not None:
            message = f"nothing of the request's body came for {self._limits.silence_s:g} s"
            self._stop_reading(self._call, ClientSilentError(message))
        elif self._incoming.is_begun:
            self._refuse(408, f"the head of the request took longer than {self._limits.head_timeout_s:g} s")
        else:
            self._close()

    def _expect_taking(self) -> None:
        self._untaken_bytes = self._count_untaken()
        self._taking.move(self._limits.silence_s if self._untaken_bytes else None)

    def _on_nothing_taken(self) -> None:
        """Cut a client off that has taken nothing of what it was sent since it was looked at last."""
        if self._count_untaken() < self._untaken_bytes:
            self._expect_taking()
        else:
            self._transport.abort()

    def _count_untaken(self) -> int:
        unsent = self._transport.get_write_buffer_size()
        raw = self._transport.get_extra_info("socket")
        return unsent + (untaken_bytes(raw.fileno()) if raw is not None else 0)

    def _look_for_departure(self) -> None:
        """Notice that a client whose bytes are not read has left: only the kernel knows yet."""
        self._look = None
        if not self._is_paused or self._transport.is_closing():
            return
        if has_left(self._transport.get_extra_info("socket")):
            self._transport.abort()
        else:
            self._look = self.loop.call_later(_DEPARTURE_LOOK_S, self._look_for_departure)
