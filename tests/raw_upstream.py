"""An upstream that keeps every byte it is sent and answers any bytes at any moment of a request.

`tests.upstream` parses requests strictly and answers once they are whole. This one reads the head, asks the script for
steps and performs them while the body may still be coming, so that early answers, interim answers, uploads that are
never read and protocols that take the connection over can be played. What it received is kept as it stood on the wire.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from tests.raw_client import Fields, deframe_chunks, parse_fields, read_chunked
from tests.upstream import Dawdle, Hangup, Pause, Reset, Stall


class ReadBody:
    """Read the request's body to its end; done before the first step unless a script says when to read."""


@dataclass(frozen=True)
class ReadPart:
    """Read until the body has that many bytes, framing undone."""

    size: int


class LeaveUnread:
    """Never read the body; the connection is of no use afterwards."""


class HalfClose:
    """Close our sending side and wait until the other side has closed its own."""


class Echo:
    """Send back whatever comes, until the other side closes: what an upgraded connection does here."""


@dataclass
class RawRequest:
    """One request as it stood on the wire.

    Attributes:
        head: Every byte up to and including the blank line.
        framed: The body's bytes as they came, chunk sizes and trailers included.
        is_whole: Whether its end has come.
        is_over: Whether the upstream is done with it, however it ended.
    """

    connection: int
    head: bytes
    framed: bytes = b""
    is_whole: bool = False
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def method(self) -> bytes:
        return self.line.split(b" ", 1)[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ", 1)[1].rsplit(b" ", 1)[0]

    @property
    def fields(self) -> Fields:
        return parse_fields(self.head.partition(b"\r\n")[2])

    @property
    def framing(self) -> str:
        names = {name.lower() for name, _ in self.fields}
        if b"transfer-encoding" in names:
            return "chunked"
        return "sized" if b"content-length" in names else "none"

    @property
    def body(self) -> bytes:
        return deframe_chunks(self.framed)[0] if self.framing == "chunked" else self.framed

    @property
    def trailers(self) -> Fields:
        return deframe_chunks(self.framed)[1] if self.framing == "chunked" else []

    def value(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.fields if key.lower() == name), None)


Step = (
    bytes | Callable[[RawRequest], bytes] | Pause | Dawdle | Stall | Reset | Hangup
    | ReadBody | ReadPart | LeaveUnread | HalfClose | Echo
)  # fmt: skip
Script = Callable[[RawRequest], Sequence[Step]]
_READS = (ReadBody, ReadPart, LeaveUnread)


@dataclass
class RawUpstream:
    """The running server.

    Attributes:
        script: Makes the steps for a request of which the head is there; replace it at any time.
        requests: What came in, in order.
        connections: How many were accepted.
        received: How many bytes came in, over all connections, whether or not they make a request.
        departures: Released for each connection that the other side left while an answer was stalled.
    """

    script: Script
    requests: list[RawRequest] = field(default_factory=list)
    connections: int = 0
    received: int = 0
    departures: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="raw-upstream", daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self, started: threading.Event) -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        handlers: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            handlers.add(task)
            self.connections += 1
            try:
                await _Talk(self, reader, writer, self.connections).run()
            except (OSError, EOFError, asyncio.CancelledError):
                pass
            finally:
                handlers.discard(task)
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
        self.port: int = server.sockets[0].getsockname()[1]
        started.set()
        await self._stopping.wait()
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


class _Talk:
    """One connection."""

    def __init__(
        self, upstream: RawUpstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self._upstream, self._reader, self._writer, self._number = upstream, reader, writer, number
        self._held = b""

    async def run(self) -> None:
        while True:
            while b"\r\n\r\n" not in (held := self._held.lstrip(b"\r\n")):  # empty lines first: RFC 9112, 2.2
                await self._more()
            head, mark, self._held = held.partition(b"\r\n\r\n")
            request = RawRequest(self._number, head + mark)
            self._upstream.requests.append(request)
            try:
                if not await self._answer(request):
                    return
            finally:
                request.is_over.set()

    async def _more(self) -> None:
        block = await self._reader.read(262144)
        if not block:
            raise EOFError
        self._upstream.received += len(block)
        self._held += block

    async def _answer(self, request: RawRequest) -> bool:
        """Perform the steps; tell whether the connection lives on."""
        steps = list(self._upstream.script(request))
        if not any(isinstance(step, _READS) for step in steps):
            steps.insert(0, ReadBody())
        for step in steps:
            if not await self._perform(step, request):
                return False
        if any(isinstance(step, LeaveUnread) for step in steps):
            return False
        await self._read_body(request)
        return True

    async def _perform(self, step: Step, request: RawRequest) -> bool:
        match step:
            case bytes():
                self._writer.write(step)
                await self._writer.drain()
            case Pause():
                await step.wait()
            case Dawdle():
                await asyncio.sleep(step.seconds)
            case ReadBody():
                await self._read_body(request)
            case ReadPart():
                await self._read_body(request, step.size)
            case LeaveUnread():
                pass
            case Stall() | HalfClose():
                if isinstance(step, HalfClose):
                    self._writer.write_eof()
                with suppress(ConnectionError):
                    while await self._reader.read(65536):
                        pass
                self._upstream.departures.release()
                return False
            case Echo():
                self._writer.write(self._held)
                while block := await self._reader.read(65536):
                    self._writer.write(block)
                    await self._writer.drain()
                return False
            case Reset():
                raw = self._writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
                return False
            case Hangup():
                return False
            case _:
                self._writer.write(step(request))
                await self._writer.drain()
        return True

    async def _read_body(self, request: RawRequest, size: int | None = None) -> None:
        """Read the body until it has that many bytes, or to its end."""
        self._take_body(request)
        while not request.is_whole and (size is None or len(request.body) < size):
            await self._more()
            self._take_body(request)

    def _take_body(self, request: RawRequest) -> None:
        """Move what has come of the body to the request."""
        if request.framing == "chunked":
            whole = request.framed + self._held
            end = read_chunked(whole)
            taken = len(whole) if end is None else end
            request.framed, self._held = whole[:taken], whole[taken:]
            request.is_whole = end is not None
        else:
            size = int(request.value(b"content-length") or 0)
            missing = size - len(request.framed)
            request.framed, self._held = request.framed + self._held[:missing], self._held[missing:]
            request.is_whole = len(request.framed) == size
