"""A connection to an upstream: one call after the other, and a way out at every moment (RFC 9112, 9)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httpx2 as httpx

from proxy.errors import FramingError, HeadError
from proxy.wire.deadline import Deadline
from proxy.wire.httpx_messages import RawResponse
from proxy.wire.last_bytes import last_bytes_of_socket, last_bytes_of_tls
from proxy.wire.paced_socket import PacedSocket
from proxy.wire.upstream_call import UpstreamCall
from proxy.wire.upstream_request import UpstreamRequest


@dataclass(frozen=True, slots=True)
class _End:
    exc: Exception | None


@dataclass(slots=True)
class _Early:
    """What came before the first request: a full server answers at the door. It is the answer to that request."""

    blocks: list[bytes] = field(default_factory=list)
    end: _End | None = None


class UpstreamConnection(asyncio.Protocol):
    """One connection; its pool gives it one call at a time.

    Attributes:
        name: Host and port, for messages.
        is_gone: Whether it has been closed or lost.
        has_answered: Whether a call went well here before; so the upstream may have closed it since.
        lost: Set when the socket is closed.
    """

    def __init__(
        self,
        name: str,
        keepalive_s: float,
        *,
        on_idle: Callable[["UpstreamConnection"], None],
        on_gone: Callable[["UpstreamConnection"], None],
    ) -> None:
        """Make the protocol of a connection that is being opened.

        Args:
            name: Host and port.
            keepalive_s: How long it may be idle; then it closes itself.
            on_idle: Called when the next call may come.
            on_gone: Called once, when no call may come any more.
        """
        self.name = name
        self.is_gone = self.has_answered = False
        self.lost = asyncio.Event()
        self._keepalive_s = keepalive_s
        self._on_idle = on_idle
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._loop, self._on_deadline)
        self._call: UpstreamCall | None = None
        self._early: _Early | None = _Early()
        self._socket: PacedSocket = cast("PacedSocket", None)

    # What the pool asks.

    def is_usable(self) -> bool:
        """Tell whether the upstream has left the idle connection alone, as far as this machine knows.

        What has arrived and was not read yet is either the end of the connection or bytes that nobody asked for, which
        would be taken for the next answer.
        """
        return not self.is_gone and not self._socket.is_closing() and not self._socket.has_arrivals()

    def may_repeat(self) -> bool:
        """Tell whether the call that has just failed here may be sent again."""
        return self._call is not None and self._call.may_repeat

    async def send(self, request: UpstreamRequest) -> httpx.Response:
        """Send a request and return its answer as soon as its head is there; the body of either may still be coming.

        Raises:
            httpx.TransportError: No answer came.
            Exception: Whatever the request's body raised.
        """
        call = self._call = UpstreamCall(request, self, self._socket, self._deadline)
        self._take_early()
        try:
            head = await call.answer.wait_head()
        except BaseException:
            await call.abandon()
            raise
        extensions: dict[str, object] = {
            "http_version": b"HTTP/" + head.version,
            "reason_phrase": head.reason,
            "trailers": call.answer.trailers,
        }
        if call.upgraded is not None:
            extensions["network_stream"] = call.upgraded
        return RawResponse(head.status, head.fields, call.answer, extensions)

    def abort(self, error: Exception | None = None) -> None:
        """Close at once; a call that is under way ends with the error."""
        if not self.is_gone:
            self.is_gone = True
            self._deadline.stop()
            self._on_gone(self)
            if self._call is not None:
                self._call.end(error or httpx.StreamClosed())
        self._socket.abort()

    def _take_early(self) -> None:
        early, self._early = self._early, None
        if early is None:
            return
        self._socket.resume_reading()
        for data in early.blocks:
            self.data_received(data)
        if early.end is not None:
            self._end(early.end.exc)

    # What the call says.

    def release(self) -> None:
        """Wait for the next call, but not for long."""
        self._call = None
        self._socket.resume_reading()
        self.has_answered = True
        self._deadline.move(self._keepalive_s)
        self._on_idle(self)

    def _on_deadline(self) -> None:
        if self._call is not None:
            self._call.time_out()
        else:
            self.is_gone = True
            self._on_gone(self)
            self._socket.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._socket = PacedSocket(cast("asyncio.Transport", transport), self._loop)
        self._socket.begin_pace()

    def data_received(self, data: bytes) -> None:
        """Hand the bytes to the call."""
        if self.is_gone:
            return
        if self._early is not None:
            self._early.blocks.append(data)
            self._socket.pause_reading()
            return
        if self._call is None:
            # Nobody asked for these bytes: as the answer to the next call they would be a stranger's.
            self.abort()
            return
        try:
            self._call.take(data)
        except (HeadError, FramingError) as error:
            self.abort(httpx.RemoteProtocolError(f"{self.name}: {error}"))

    def eof_received(self) -> None:
        """Take the end of what the upstream says; the whole connection ends with it."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        self.lost.set()
        self._end(exc)

    def pause_writing(self) -> None:
        """Hold the request: the upstream takes less than we send."""
        self._socket.hold_writing()
        if self._call is not None:
            self._call.writing_held()

    def resume_writing(self) -> None:
        """Go on with the request."""
        self._socket.release_writing()
        if self._call is not None and not self.is_gone:
            self._call.writing_released()

    def _end(self, exc: Exception | None) -> None:
        """End the call with the connection, after what the upstream had said before."""
        if self.is_gone:
            return
        if self._early is not None and self._early.blocks:
            self._early.end = _End(exc)
            return
        tls = self._socket.extra_info("ssl_object")
        if self._call is not None and tls is not None:
            for data in last_bytes_of_tls(tls):
                self.data_received(data)
        elif self._call is not None and exc is not None:
            for data in last_bytes_of_socket(self._socket.extra_info("socket").fileno()):
                self.data_received(data)
        if not self.is_gone:
            self.abort(None if self._call is None else self._call.take_loss(exc))
