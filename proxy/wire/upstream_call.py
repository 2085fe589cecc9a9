"""One call on an upstream's connection, from its request to the end of its answer.

Three things come one after the other, moved on by what the socket brings: the request is sent, the head comes, the body
comes. They may overlap: an upstream may answer while the request is still on its way. The call is over when both are
complete; whatever goes wrong before ends it, and its connection, with one error.
"""

import asyncio
from typing import Protocol

import httpx2 as httpx

from proxy.errors import FramingError, HeadError
from proxy.wire.answer_stream import AnswerStream
from proxy.wire.deadline import Deadline
from proxy.wire.framing import BodyReader, CloseDelimitedBody, response_body
from proxy.wire.head import ResponseHead
from proxy.wire.incoming_head import IncomingHead
from proxy.wire.last_bytes import ended_with_notice
from proxy.wire.paced_socket import PacedSocket
from proxy.wire.persistence import keeps_alive
from proxy.wire.upgraded_stream import UpgradedStream
from proxy.wire.upload import upload
from proxy.wire.upstream_request import UpstreamRequest

_MAX_INTERIM_ANSWERS = 32
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL, _FIRST_ERROR = 200, 400


class Carrier(Protocol):
    """The connection that carries the call.

    Attributes:
        name: Host and port, for messages.
    """

    name: str

    def release(self) -> None:
        """Take the connection back: the call is over and has left it as it was."""

    def abort(self, error: Exception | None = None) -> None:
        """Close the connection, and end the call with it."""


class UpstreamCall:
    """A call that is under way.

    Attributes:
        answer: Where the answer arrives.
        upgraded: The connection after a 101.
        may_repeat: Whether the call, which has failed, may be sent again: the upstream closed the connection before any
            of it was sent, or before any byte of an answer and sending it twice does what sending it once does.
    """

    def __init__(self, request: UpstreamRequest, carrier: Carrier, paced: PacedSocket, deadline: Deadline) -> None:
        """Send the request, or begin to."""
        self.answer = AnswerStream(self, paced.loop)
        self.upgraded: UpgradedStream | None = None
        self.may_repeat = False
        self._request = request
        self._carrier = carrier
        self._socket = paced
        self._deadline = deadline
        self._upload: asyncio.Task[None] | None = None
        self._incoming_head: IncomingHead | None = None
        self._interim_answers = 0
        self._reader: BodyReader | None = None
        self._is_kept = False
        self._is_over = False
        self._untaken_bytes = 0
        paced.write(request.head, request.body)
        if request.blocks is not None:
            self._upload = paced.loop.create_task(upload(request.blocks, request, paced), name="upload")
            self._upload.add_done_callback(self._on_upload_end)
        if paced.is_write_held:
            self.writing_held()
        else:
            self.watch()

    # What the reader of the answer asks.

    def resume_reading(self) -> None:
        """Read on."""
        self._socket.resume_reading()
        self.watch()

    def abort(self) -> None:
        """End the call and its connection at once."""
        if not self._is_over:
            self._carrier.abort()

    async def abandon(self) -> None:
        """End the call, whatever of it is still under way, and the connection with it."""
        self.abort()
        if self._upload is not None and self._upload is not asyncio.current_task():
            await asyncio.wait([self._upload])

    # What the connection says.

    def take(self, data: bytes) -> None:
        """Take what came off the socket.

        Raises:
            HeadError: It is no head of an answer.
            FramingError: It is no body of an answer.
        """
        if self._reader is not None:
            self._read_body(self._reader, data)
        elif self.upgraded is not None:
            self.upgraded.put(data)
        elif self.answer.head is None:
            self._read_heads(data)
        else:
            # The answer is complete; only the request is still on its way.
            self._carrier.abort()

    def writing_held(self) -> None:
        """Note that the upstream takes less than we send."""
        self._untaken_bytes = self._socket.untaken_bytes()
        self.watch()

    def writing_released(self) -> None:
        """Note that the upstream has taken all that was written."""
        if self._is_answered():
            self._settle()
        else:
            self.watch()

    def end(self, error: Exception) -> None:
        """Take the end of the connection: nothing of the call goes on."""
        self._is_over = True
        if self._upload is not None:
            self._upload.cancel()
        self.answer.fail(error)
        if self.upgraded is not None:
            self.upgraded.end(None if isinstance(error, httpx.StreamClosed) else error)

    def take_loss(self, exc: Exception | None) -> Exception | None:
        """Say what the loss of the connection means to the call; None when the call is complete with it."""
        name = self._carrier.name
        if self.upgraded is not None:
            return None if exc is None else httpx.ReadError(f"{name} broke the connection: {exc}")
        if self._reader is not None:
            return self._end_body(self._reader, exc)
        return None if self._is_answered() else self._no_answer(exc)

    def time_out(self) -> None:
        """Take the deadline: the upstream has not done in time what it owed."""
        name, timeouts = self._carrier.name, self._request.timeouts
        before, self._untaken_bytes = self._untaken_bytes, self._socket.untaken_bytes()
        if self._socket.is_write_held and self._untaken_bytes < before:
            self._deadline.move(timeouts.write)
        elif self._socket.is_write_held or self._socket.unsent_bytes():
            self._carrier.abort(httpx.WriteTimeout(f"{name} took no more of the request in time"))
        elif self._reader is None:
            self._carrier.abort(httpx.ReadTimeout(f"{name} began no answer within {timeouts.first_byte:g} s"))
        else:
            self._carrier.abort(httpx.ReadTimeout(f"{name} sent no more of its answer within {timeouts.read:g} s"))

    def watch(self) -> None:
        """Set the deadline for what the upstream owes now; it owes nothing while it waits for us."""
        if self._is_over or self.upgraded is not None:
            return
        timeouts = self._request.timeouts
        if self._socket.is_write_held:
            self._deadline.move(timeouts.write)
        elif self._socket.is_read_held or self._is_uploading():
            self._deadline.move(None)
        elif self._reader is None:
            self._deadline.move(timeouts.first_byte)
        else:
            self._deadline.move(timeouts.read)

    # The steps of the call.

    def _on_upload_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._is_over or task is not self._upload:
            return
        if task.cancelled():
            self._carrier.abort(httpx.LocalProtocolError("the request's body was cancelled"))
        elif isinstance(error, Exception):
            self._carrier.abort(error)
        elif self._is_answered():
            self._settle()
        else:
            self.watch()

    def _is_uploading(self) -> bool:
        return self._upload is not None and not self._upload.done()

    def _is_answered(self) -> bool:
        """Tell whether the answer is complete; something of the request may still be on its way."""
        return self.answer.is_whole and self.upgraded is None

    def _read_heads(self, data: bytes) -> None:
        """Read the answer's head and those of the interim answers before it."""
        if self._incoming_head is None:
            self._incoming_head = IncomingHead()
        while data and not self._is_over and (found := self._incoming_head.feed(data)) is not None:
            head, data = found
            if head.status == _SWITCHING_PROTOCOLS:
                self._upgrade(head, data)
                return
            if head.status >= _FIRST_FINAL:
                self._begin_answer(head, data)
                return
            self._interim_answers += 1
            if self._interim_answers > _MAX_INTERIM_ANSWERS:
                raise HeadError(502, f"more than {_MAX_INTERIM_ANSWERS} interim answers came before the final one")
            self.watch()
            if self._request.on_informational is not None:
                self._request.on_informational(head.status, head.reason, head.fields)

    def _begin_answer(self, head: ResponseHead, rest: bytes) -> None:
        reader = self._reader = response_body(self._request.method, head)
        self._is_kept = not self._request.is_last and keeps_alive(head) and not isinstance(reader, CloseDelimitedBody)
        self.answer.begin(head)
        if self._upload is not None and head.status >= _FIRST_ERROR and not self._is_kept:
            # The upstream does not want the rest of the request (RFC 9112, 9.5).
            stopped, self._upload = self._upload, None
            stopped.cancel()
        if reader.is_done:
            reader.rest = rest
            self._finish_answer(reader)
        elif rest:
            self._read_body(reader, rest)
        else:
            self.watch()

    def _upgrade(self, head: ResponseHead, rest: bytes) -> None:
        if not self._request.asks_upgrade:
            raise HeadError(502, "the answer switches to another protocol, which the request did not ask for")
        self.upgraded = UpgradedStream(self._socket, self.abandon)
        self._deadline.move(None)
        self.answer.begin(head)
        self.answer.finish([])
        if rest:
            self.upgraded.put(rest)

    def _read_body(self, reader: BodyReader, data: bytes) -> None:
        blocks = reader.feed(data)
        has_room = self.answer.put(blocks) if blocks else True
        if reader.is_done:
            self._finish_answer(reader)
            return
        if not has_room:
            self._socket.pause_reading()
        self.watch()

    def _finish_answer(self, reader: BodyReader) -> None:
        self._reader = None
        self._is_kept = self._is_kept and not reader.rest
        self.answer.finish(reader.trailers)
        self._settle()

    def _settle(self) -> None:
        """Give the connection back or have it closed, when nothing of the call is under way any more."""
        if self._is_kept and (self._is_uploading() or self._socket.is_write_held):
            self.watch()
        elif self._is_kept and not self._socket.is_closing() and not self._socket.unsent_bytes():
            self._is_over = True
            self.answer.let_go()
            self._carrier.release()
        else:
            self._carrier.abort()

    # The end of the connection.

    def _end_body(self, reader: BodyReader, exc: Exception | None) -> Exception | None:
        """Complete the answer if this is how it ends, else return what is wrong with it."""
        name = self._carrier.name
        if exc is not None:
            return httpx.ReadError(f"{name} broke the connection within its answer: {exc}")
        tls = self._socket.extra_info("ssl_object")
        if isinstance(reader, CloseDelimitedBody) and tls is not None and not ended_with_notice(tls):
            # Anybody on the way could have cut it (RFC 9112, 9.8).
            return httpx.RemoteProtocolError(f"{name} ended its answer without the closing message of TLS")
        try:
            reader.end()
        except FramingError as error:
            return httpx.RemoteProtocolError(f"{name} closed the connection within its answer: {error}")
        self.answer.finish(reader.trailers)
        return None

    def _no_answer(self, exc: Exception | None) -> Exception:
        name, request = self._carrier.name, self._request
        if self._incoming_head is not None:
            return httpx.RemoteProtocolError(f"{name} closed the connection before its answer's head was whole")
        # Behind TLS nobody can tell what has left.
        was_sent = not self._socket.is_plain or self._socket.unsent_bytes() < len(request.head) + len(request.body)
        self.may_repeat = request.blocks is None and (request.is_repeatable or not was_sent)
        if isinstance(exc, BrokenPipeError):
            return httpx.WriteError(f"{name} closed the connection while the request was sent: {exc}")
        if isinstance(exc, ConnectionError):
            return httpx.ReadError(f"{name} broke the connection before it answered: {exc}")
        return httpx.RemoteProtocolError(f"{name} closed the connection before it answered")
