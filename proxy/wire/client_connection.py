"""A client's connection: bytes to requests, one at a time, and answers back (RFC 9112, 9).

A request is served by a task of its own. The next one is read only when the answer to the one before it is complete,
so whatever a client sends ahead waits, up to a bound, and no answer can overtake another. What the grammar forbids is
answered here and closes the connection, before anything is asked of an upstream.
"""

import asyncio
import contextlib
import logging
import re
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import cast

from proxy.api_error import error_body
from proxy.errors import BodyTooLargeError, ClientSilentError, FramingError, HeadError, ProxyError
from proxy.wire.client_call import ClientCall
from proxy.wire.framing import BodyReader, CloseDelimitedBody, SizedBody, request_body
from proxy.wire.head import RequestHead, encode_head, find_request_head_end, parse_request_head

_log = logging.getLogger("tracemill.connection")

_LINE_FEED_ALONE = re.compile(rb"(?<!\r)\n")
_NO_METHOD = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z\r\n]")
_LINGER_S = 2.0
"""How long a client may take to read an answer that was given before its body had come whole: closing at once would
reset the connection, and the answer with it (RFC 9112, 9.6)."""
_LINGER_BYTES = 8 * 1024 * 1024
"""What such a client may still send; one that goes on for ever is cut off."""
_DEPARTURE_LOOK_S = 0.25
"""How often a connection that is not read is looked at: it must end its call within a second (`docs/contract.md`)."""
_TCP_ESTABLISHED = 1
_NEVER = float("inf")
_REASONS = {
    400: b"Bad Request", 408: b"Request Timeout", 414: b"URI Too Long", 431: b"Request Header Fields Too Large",
    501: b"Not Implemented", 503: b"Service Unavailable", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_CODES = {
    408: "request_timeout", 414: "target_too_long", 431: "head_too_large", 501: "not_implemented",
    503: "too_many_connections", 505: "version_not_supported",
}  # fmt: skip


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
        is_empty: Set when the last of them is gone.
    """

    serve: Callable[[ClientCall], Coroutine[None, None, None]]
    limits: ClientLimits
    on_refusal: Callable[[int], None]
    is_stopping: bool = False
    all: set["ClientConnection"] = field(default_factory=set)
    is_empty: asyncio.Event = field(default_factory=asyncio.Event)


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
        self._buffer = b""
        self._body: BodyReader | None = None
        self._call: ClientCall | None = None
        self._is_closing = False
        self._is_deaf = False
        self._discarded_bytes = 0
        self._is_paused = False
        self._is_tunnel = False
        self._writable: asyncio.Future[None] | None = None
        self._deadline = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._on_overdue: Callable[[], None] = self._close

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or say that there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._connections.all) >= self._limits.max_connections:
            self._refuse(503, f"{self._limits.max_connections} connections are open; try again later")
            return
        self._connections.all.add(self)
        self._expect_within(self._limits.head_timeout_s, self._close)

    def data_received(self, data: bytes) -> None:
        """Take what came off the socket."""
        if self._is_closing or self._is_deaf:
            self._discard(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def eof_received(self) -> bool:
        """Take the client's leaving: who closes its side of a call is gone, as for any other proxy."""
        if self._is_tunnel and self._call is not None:
            self._call.end_body([])
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was being served."""
        del exc
        self._is_closing = True
        self._connections.all.discard(self)
        if not self._connections.all:
            self._connections.is_empty.set()
        self._deadline = _NEVER
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        if self._call is not None:
            self._call.depart()

    def pause_writing(self) -> None:
        """Note that the client takes less than it is sent."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Note that it has caught up, or is gone."""
        self.is_full = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # What a call asks for.

    @property
    def is_stopping(self) -> bool:
        """Whether the server stops, so that this connection ends with its call."""
        return self._connections.is_stopping

    def write(self, data: bytes) -> None:
        """Send bytes; does nothing when the client is gone."""
        if not self._is_closing:
            self._transport.write(data)

    async def drained(self) -> None:
        """Return when the client has taken what was sent; one that never does is cut off."""
        self._writable = self.loop.create_future()
        self._expect_within(self._limits.silence_s, self._transport.abort)
        await self._writable
        self._deadline = _NEVER

    @contextlib.contextmanager
    def patience(self) -> Iterator[None]:
        """Bound the wait for more of a body; another protocol may be silent as long as it likes."""
        if self._is_tunnel:
            yield
            return
        self._expect_within(self._limits.silence_s, self._fall_silent)
        try:
            yield
        finally:
            self._deadline = _NEVER

    def pause_reading(self) -> None:
        """Leave what the client sends in its socket, and look whether it is still there."""
        if not self._is_paused and not self._is_closing:
            self._is_paused = True
            self._transport.pause_reading()
            self.loop.call_later(_DEPARTURE_LOOK_S, self._look_for_departure)

    def resume_reading(self) -> None:
        """Read on."""
        if self._is_paused and not self._is_closing:
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
        self._advance()

    def close_if_idle(self) -> None:
        """Close a connection that nobody waits on; the others see that the server stops."""
        if self._call is None:
            self._close()

    def abort(self) -> asyncio.Task[None] | None:
        """End the connection at once; return the task of its call, which is being cancelled."""
        self._transport.abort()
        if self._call is None or self._call.task is None:
            return None
        self._call.task.cancel()
        return self._call.task

    def bound_body(self, max_bytes: int) -> None:
        """Bound the body of the call that is being served."""
        call = self._call
        assert call is not None  # noqa: S101 - a call asks for it
        self._max_body_bytes = min(max_bytes, self._limits.max_body_bytes)
        said = self._body.length if isinstance(self._body, SizedBody) else call.received_bytes
        if said > self._max_body_bytes:
            self._stop_reading(call, BodyTooLargeError(self._max_body_bytes))

    # Reading requests.

    def _advance(self) -> None:
        """Go as far as what has come allows."""
        while self._buffer and not self._is_closing and not self._is_deaf:
            if self._body is not None:
                self._read_body(self._body)
            elif self._call is None:
                if not self._read_head():
                    return
            else:
                if len(self._buffer) > self._limits.max_head_bytes:
                    self.pause_reading()
                return

    def _read_head(self) -> bool:
        """Begin a call if its head is there; tell whether to go on."""
        self._buffer = self._buffer.lstrip(b"\r\n")  # RFC 9112, 2.2
        end = find_request_head_end(self._buffer)
        try:
            self._check_size(end)
            if end < 0:
                self._check_beginning()
                self._expect_within(self._limits.head_timeout_s, self._refuse_slow_head)
                return False
            head = parse_request_head(self._buffer[:end])
            body = request_body(head)
            if not head.target.startswith(b"/") or head.method == b"CONNECT":
                raise HeadError(400, "a path of this server has to be asked for: it is no open proxy, and no tunnel")
        except HeadError as error:
            self._refuse(error.status, str(error))
            return False
        self._buffer = self._buffer[end:]
        self._begin_call(head, body)
        return True

    def _check_size(self, end: int) -> None:
        limit = self._limits.max_head_bytes
        if end > limit or (end < 0 and len(self._buffer) > limit):
            is_line = b"\r\n" not in self._buffer[:limit]
            raise HeadError(414 if is_line else 431, f"the head of a request may have {limit} bytes")

    def _check_beginning(self) -> None:
        """Refuse at once what can not become a head, instead of waiting for the rest of it."""
        if _LINE_FEED_ALONE.search(self._buffer) or (self._buffer and _NO_METHOD.match(self._buffer)):
            raise HeadError(400, "the head of the request breaks the grammar of HTTP/1.1 (RFC 9112)")

    def _begin_call(self, head: RequestHead, body: BodyReader) -> None:
        self._deadline = _NEVER
        self._max_body_bytes = self._limits.max_body_bytes
        call = ClientCall(self, head, body)
        self._call = call
        self._body = None if body.is_done else body
        self.bound_body(self._max_body_bytes)
        call.task = self.loop.create_task(self._serve(call))
        call.task.add_done_callback(self._end_call)

    async def _serve(self, call: ClientCall) -> None:
        call.is_begun = True
        await self._connections.serve(call)

    def _read_body(self, body: BodyReader) -> None:
        call = self._call
        assert call is not None  # noqa: S101 - a body is read for its call
        data, self._buffer = self._buffer, b""
        try:
            call.take_body(body.feed(data))
        except FramingError as error:
            self._stop_reading(call, error)
            return
        if call.received_bytes > self._max_body_bytes and not self._is_tunnel:
            self._stop_reading(call, BodyTooLargeError(self._max_body_bytes))
        elif body.is_done:
            self._body, self._buffer = None, body.rest
            call.end_body(body.trailers)

    def _stop_reading(self, call: ClientCall, error: ProxyError) -> None:
        """Let a call know that no more of its body comes; what the client still sends is thrown away."""
        self._body = None
        self._is_deaf = True
        call.fail_body(error)

    # Ending.

    def _end_call(self, task: asyncio.Task[None]) -> None:
        """Go on to the next request, or close."""
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
            self._close()
        else:
            self._expect_within(self._limits.keep_alive_s, self._close)
            self.resume_reading()
            if self._buffer:
                self._advance()

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that is none, and close."""
        body = error_body(message, code=_CODES.get(status, "bad_request"), kind="invalid_request_error")
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-tracemill-error", _CODES.get(status, "bad_request").encode()),
            (b"connection", b"close"),
        ]
        if status == 503:
            fields.append((b"retry-after", b"1"))
        self.write(encode_head(b"HTTP/1.1 %d %b" % (status, _REASONS[status]), fields) + body)
        self._connections.on_refusal(status)
        self._linger()

    def _refuse_slow_head(self) -> None:
        self._refuse(408, f"the head of the request took longer than {self._limits.head_timeout_s:g} s")

    def _fall_silent(self) -> None:
        if self._call is not None:
            message = f"nothing of the request's body came for {self._limits.silence_s:g} s"
            self._stop_reading(self._call, ClientSilentError(message))

    def _discard(self, data: bytes) -> None:
        """Throw away what a client sends that has its answer, or is getting it."""
        self._discarded_bytes += len(data)
        if self._discarded_bytes > _LINGER_BYTES:
            self._transport.abort()

    def _linger(self) -> None:
        """Let the client read the answer before the connection goes, though it may still be sending."""
        self._is_closing = True
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._expect_within(_LINGER_S, self._transport.abort)

    def _close(self) -> None:
        self._is_closing = True
        self._transport.close()

    # Time.

    def _expect_within(self, seconds: float, on_overdue: Callable[[], None]) -> None:
        """Set the one deadline of the connection; a timer that is running already is used again."""
        self._deadline = self.loop.time() + seconds
        self._on_overdue = on_overdue
        if self._timer is not None:
            if self._timer.when() <= self._deadline:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(self._deadline, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._deadline == _NEVER:
            return
        if self.loop.time() >= self._deadline:
            self._deadline = _NEVER
            self._on_overdue()
        else:
            self._timer = self.loop.call_at(self._deadline, self._look_at_clock)

    def _look_for_departure(self) -> None:
        """Notice that a client whose bytes are not read has left: only the kernel knows yet."""
        if not self._is_paused or self._is_closing:
            return
        if _tcp_state(self._transport.get_extra_info("socket")) != _TCP_ESTABLISHED:
            self._transport.abort()
            return
        self.loop.call_later(_DEPARTURE_LOOK_S, self._look_for_departure)


def _tcp_state(raw: socket.socket) -> int:
    """Return the state of a TCP connection as Linux tells it; elsewhere every connection counts as established."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return _TCP_ESTABLISHED
    return raw.getsockopt(socket.IPPROTO_TCP, option, 1)[0]
