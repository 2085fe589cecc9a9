"""One request of a client and the answer to it: what the data path sees of a client's connection.

Reading is pulled: what the data path has not taken yet is bounded, past the bound the client's connection is not read.
Writing is pushed and answers at once; `drained` waits until the client has taken what was pushed. A client that leaves
ends the task that serves it, unless `on_departure` says otherwise.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from proxy.errors import ClientLeft, ProxyError
from proxy.wire.fields import Field, Fields, first
from proxy.wire.framing import BodyReader, encode_chunk, encode_last_chunk
from proxy.wire.head import RequestHead, encode_head
from proxy.wire.persistence import wants_close

if TYPE_CHECKING:
    from proxy.wire.client_connection import ClientConnection

_CONTINUE = 100
_AHEAD_BYTES = 256 * 1024
"""What may have come of a request's body beyond what the upstream has taken."""
_AHEAD_BLOCKS = 1024
"""In so many blocks at most: one of two bytes takes fifty in memory."""


class ClientCall:
    """A request being served.

    Attributes:
        head: The request's head.
        task: The task that serves it.
        received_bytes: Content of the body that has come so far.
        is_begun: Whether that task has taken its first step.
        is_body_whole: Whether all of the body has come; more of it than was read may be waiting.
        failure: Why no more of the body comes; None while it may.
        is_departed: Whether the client is gone.
        is_answer_begun: Whether a head went out, so that no other answer can be given.
        is_answered: Whether the answer is complete.
    """

    __slots__ = (
        "_blocks",
        "_connection",
        "_ends_with_connection",
        "_head",
        "_held_bytes",
        "_is_chunked",
        "_is_continued",
        "_socket",
        "_trailers",
        "_waiter",
        "failure",
        "head",
        "is_answer_begun",
        "is_answered",
        "is_begun",
        "is_body_whole",
        "is_departed",
        "is_last",
        "on_departure",
        "received_bytes",
        "task",
    )

    def __init__(self, connection: "ClientConnection", head: RequestHead, body: BodyReader) -> None:
        """Make the call of a connection; its body begins behind the head."""
        self.head = head
        self.task: asyncio.Task[None] | None = None
        self.on_departure: Callable[[], None] | None = None
        self.received_bytes = 0
        self.is_body_whole = body.is_done
        self.is_begun = False
        self.is_departed = False
        self.is_answer_begun = False
        self.is_answered = False
        self.is_last = wants_close(head)
        self._connection = connection
        self._socket = connection.socket
        self._blocks: list[bytes] = []
        self._held_bytes = 0
        self._trailers: Fields = []
        self.failure: ProxyError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_chunked = False
        self._is_continued = False
        self._ends_with_connection = False
        self._head = b""

    # The request.

    @property
    def trailers(self) -> Fields:
        """The fields that came behind the body; complete when the body is."""
        return self._trailers

    def read_nowait(self) -> bytes:
        """Return what has come of the body and was not read yet; may be empty."""
        if not self._blocks:
            return b""
        data = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        self._held_bytes = 0
        self._socket.resume_reading()
        return data

    async def read(self) -> bytes:
        """Wait for more of the body and return it; empty when the body has ended.

        Raises:
            ProxyError: The client left, fell silent, or its body broke a rule or a bound.
        """
        while not self._blocks:
            if self.failure is not None:
                raise self.failure
            if self.is_body_whole:
                return b""
            self._waiter = self._connection.loop.create_future()
            with self._connection.patience():
                await self._waiter
        return self.read_nowait()

    def put_back(self, data: bytes) -> None:
        """Have data that was read be read again; the bound on what waits does not count it."""
        if data:
            self._blocks.insert(0, data)

    def bound_body(self, max_bytes: int) -> None:
        """Set a bound on the body that is lower than the connection's.

        Raises:
            BodyTooLargeError: It is past that already.
        """
        self._connection.bound_body(max_bytes)

    @property
    def awaits_continue(self) -> bool:
        """Whether the client wants to hear 100 before it sends its body (RFC 9110, 10.1.1)."""
        return (first(self.head.fields, b"expect") or b"").lower() == b"100-continue"

    async def read_soon(self, seconds: float) -> bytes:
        """Wait for some of the body, but not longer than told; empty when none has come.

        Raises:
            ProxyError: As `read`.
        """
        if not self._blocks and not self.is_body_whole and self.failure is None:
            self._waiter = self._connection.loop.create_future()
            patience = self._connection.loop.call_later(seconds, self._wake)
            try:
                await self._waiter
            finally:
                patience.cancel()
        if self.failure is not None:
            raise self.failure
        return self.read_nowait()

    # The answer.

    def interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """Pass on an answer that is not the last one (1xx); HTTP/1.0 knows none, and one 100 is enough."""
        if status == _CONTINUE and self._is_continued:
            return
        self._is_continued = self._is_continued or status == _CONTINUE
        if self.head.version == b"1.1" and not self.is_answer_begun:
            self._socket.write(encode_head(b"HTTP/1.1 %d %b" % (status, reason), fields))

    def begin_answer(
        self, status: int, reason: bytes, fields: Fields, *, has_body: bool, added: Sequence[Field] = ()
    ) -> None:
        """Make the head; it leaves with the first block, with `flush`, or with the end of the answer.

        Args:
            status: The status code.
            reason: The words behind it.
            fields: Those of the message, without any that concern one connection only. Without a `Content-Length`, the
                body is framed here.
            has_body: False when nothing follows the head, whatever its fields say.
            added: What is said behind those, nothing of the framing.
        """
        self.is_answer_begun = True
        framing: Fields = []
        if has_body and first(fields, b"content-length") is None:
            if self.head.version == b"1.0":
                self.is_last = self._ends_with_connection = True
            else:
                self._is_chunked = True
                framing.append((b"transfer-encoding", b"chunked"))
        if self._connection.is_stopping:
            self.is_last = True
        if self.is_last:
            framing.append((b"connection", b"close"))
        self._head = encode_head(b"HTTP/1.1 %d %b" % (status, reason), [*fields, *added, *framing])

    def flush(self) -> None:
        """Send the head, when nothing of the body has been sent that it could have left with."""
        if self._head:
            head, self._head = self._head, b""
            self._socket.write(head)

    def send(self, block: bytes) -> None:
        """Send a block of the body on; it goes out now, and waits in memory as far as the client does not take it."""
        if not block:
            return
        if self._is_chunked:
            block = encode_chunk(block)
        if self._head:
            block, self._head = self._head + block, b""
        self._socket.write(block)

    @property
    def is_full(self) -> bool:
        """Whether the client takes less than it is sent, so that `drained` is to be awaited."""
        return self._socket.is_full

    async def drained(self) -> None:
        """Return when the client has taken nearly all that was sent."""
        await self._socket.drained()

    def finish(self, trailers: Fields) -> None:
        """Complete the answer."""
        self.is_answered = True
        end = self._head + (encode_last_chunk(trailers) if self._is_chunked else b"")
        if end:
            self._head = b""
            self._socket.write(end)

    def cut(self) -> None:
        """Break the answer off, so that the client sees that it did not end."""
        self.flush()
        self._connection.cut(is_end_visible=not self._ends_with_connection)

    def begin_tunnel(self, fields: Fields, reason: bytes) -> None:
        """Answer 101 and hand over the connection: from here on `read` and `send` move bytes of another protocol."""
        self.is_answer_begun = self.is_last = True
        self._socket.write(encode_head(b"HTTP/1.1 101 " + reason, fields))
        self.is_body_whole = False
        self._connection.begin_tunnel()

    # Told by the connection.

    def take_body(self, data: list[bytes]) -> None:
        """Take more of the body."""
        for block in data:
            self._held_bytes += len(block)
            self.received_bytes += len(block)
        self._blocks += data
        if self._held_bytes > _AHEAD_BYTES or len(self._blocks) > _AHEAD_BLOCKS:
            self._socket.pause_reading()
        self._wake()

    def end_body(self, trailers: Fields) -> None:
        """Take the end of the body."""
        self._trailers = trailers
        self.is_body_whole = True
        self._wake()

    def fail_body(self, failure: ProxyError) -> None:
        """Let whoever reads the body know that no more of it comes."""
        self.failure = failure
        self._wake()

    def depart(self) -> None:
        """Take the client's leaving."""
        self.is_departed = True
        if self.on_departure is not None:
            self.on_departure()
        else:
            self._give_up()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _give_up(self) -> None:
        self.fail_body(ClientLeft("the client left"))
        # A task that is cancelled before its first step never runs at all, and could record nothing.
        if self.task is not None and self.is_begun:
            self.task.cancel()
