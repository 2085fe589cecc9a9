"""A client's connection: bytes to requests, one at a time, and answers back (RFC 9112, 9).

One task serves the requests of a connection, one after the other. The next one is read only when the answer to the one
before it is complete, so whatever a client sends ahead waits, up to a bound, and no answer can overtake another. What
the grammar forbids is answered here and closes the connection, before anything is asked of an upstream.

What a client owes us in time depends on what is under way: the rest of a head, more of a body, the next request, or the
end of the connection.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import cast

from proxy.errors import BodyTooLargeError, ClientSilentError, FramingError, HeadError, ProxyError
from proxy.wire.client_call import ClientCall
from proxy.wire.client_connections import ClientConnections
from proxy.wire.client_socket import ClientSocket
from proxy.wire.deadline import Deadline
from proxy.wire.framing import BodyReader, CloseDelimitedBody, SizedBody
from proxy.wire.head import RequestHead
from proxy.wire.incoming_request import IncomingRequest
from proxy.wire.refusal import encode_refusal

_log = logging.getLogger("tracemill.connection")

_LINGER_S = 2.0
"""How long a client may take to read an answer that was given before its body had come whole: closing at once would
reset the connection, and the answer with it (RFC 9112, 9.6)."""
_LINGER_BYTES = 8 * 1024 * 1024
"""What such a client may still send; one that goes on for ever is cut off."""
_GRACE_S = 1.0
"""How long a server that stops waits for one more request on a connection that it had not said it would close."""


class ClientConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, connections: ClientConnections) -> None:
        """Make the protocol of a connection that is being accepted."""
        self.loop = asyncio.get_running_loop()
        self.socket = ClientSocket(self.loop, connections.limits.silence_s)
        self._connections = connections
        self._limits = connections.limits
        self._max_body_bytes = self._limits.max_body_bytes
        self._incoming = IncomingRequest(self._limits.max_head_bytes)
        self._ahead = bytearray()
        self._body: BodyReader | None = None
        self._call: ClientCall | None = None
        self._serving: asyncio.Task[None] | None = None
        self._next_call: asyncio.Future[None] | None = None
        self._is_closing = False
        self._is_deaf = False
        self._discarded_bytes = 0
        self._is_tunnel = False
        self._sending = Deadline(self.loop, self._on_nothing_sent)

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or say that there are too many."""
        self.socket.open(cast("asyncio.Transport", transport))
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
        self._sending.stop()
        self.socket.take_end()
        if self._call is not None:
            self._depart(self._call)
        self._wake_serving()

    def pause_writing(self) -> None:
        """Note that the client takes less than it is sent."""
        self.socket.hold_writing()

    def resume_writing(self) -> None:
        """Note that it has caught up, or is gone."""
        self.socket.release_writing()

    # What a call asks for.

    @property
    def is_stopping(self) -> bool:
        """Whether the server stops, so that this connection ends with its call."""
        return self._connections.is_stopping

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

    def cut(self, *, is_end_visible: bool) -> None:
        """Close in the middle of an answer; by a reset where the end of the connection would look like its end."""
        if not is_end_visible:
            self.socket.make_end_a_reset()
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
        self.socket.abort()

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
                    self.socket.pause_reading()
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
        if self._serving is None:
            self._serving = self.loop.create_task(self._serve_calls())
        call.task = self._serving
        self._connections.tasks.add(self._serving)
        self._wake_serving()

    async def _serve_calls(self) -> None:
        """Serve one call after the other until the connection ends."""
        while (call := self._call) is not None:
            call.is_begun = True
            try:
                await self._connections.serve(call)
            except Exception:  # noqa: BLE001 - it has cost its own call, and the log says so
                _log.exception("serving a call failed")
            finally:
                self._end_call(call)
            if self._call is not None:
                await asyncio.sleep(0)  # what a client sends ahead takes turns with what others send
            elif not self._is_closing:
                self._next_call = self.loop.create_future()
                await self._next_call

    def _wake_serving(self) -> None:
        if self._next_call is not None and not self._next_call.done():
            self._next_call.set_result(None)

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

    def _end_call(self, call: ClientCall) -> None:
        """Go on to the next request, or close."""
        self._call = None
        self._connections.discard(None, call.task)
        if self._is_closing:
            return
        if not call.is_answered:
            call.cut()
        elif self._is_deaf or self._body is not None:
            self._linger()
        elif call.is_last:
            # What was sent ahead is not answered; unread, it would reset the connection, and the answer with it.
            if self._ahead or self.socket.is_unread:
                self._linger()
            else:
                self._close()
        else:
            # A client that was told of no end may be sending its next request; that one's answer tells it.
            keep_alive_s = self._limits.keep_alive_s
            self._sending.move(min(keep_alive_s, _GRACE_S) if self.is_stopping else keep_alive_s)
            self.socket.resume_reading()
            self._advance_with_rest()

    def _depart(self, call: ClientCall) -> None:
        if not call.is_departed:
            call.depart()

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that is none, and close."""
        self.socket.write(encode_refusal(status, message))
        self._connections.on_refusal(status)
        self._linger()

    def _discard(self, data: bytes) -> None:
        """Throw away what a client sends that has its answer, or is getting it."""
        self._discarded_bytes += len(data)
        if self._discarded_bytes > _LINGER_BYTES:
            self.socket.abort()

    def _linger(self) -> None:
        """Let the client read the answer before the connection goes, though it may still be sending."""
        self._is_closing = True
        self.socket.end_sending()
        if not self.socket.is_closing:
            self._sending.move(_LINGER_S)

    def _close(self) -> None:
        """Close when what was sent has left, however slowly."""
        self._is_closing = True
        if not self.socket.is_closing:
            self._sending.move(None)
        self.socket.close()

    # Time.

    def _on_nothing_sent(self) -> None:
        """Give up what the client owed us."""
        if self._is_closing:
            if self.socket.count_untaken():
                self._sending.move(_LINGER_S)
            else:
                self.socket.abort()
        elif self._call is not None:
            message = f"nothing of the request's body came for {self._limits.silence_s:g} s"
            self._stop_reading(self._call, ClientSilentError(message))
        elif self._incoming.is_begun:
            self._refuse(408, f"the head of the request took longer than {self._limits.head_timeout_s:g} s")
        else:
            self._close()
