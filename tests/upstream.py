"""The scripted upstream: a server on loopback that answers byte for byte as a test tells it, faults included.

An answer is a sequence of steps: bytes to write, or one of `Pause`, `Dawdle`, `Stall`, `Reset`, `Hangup`. Nothing is
parsed or framed on the way out, so a test can send wrong lengths, cut events and garbage. It runs in a thread of its
own, so that synchronous clients can be tested, too.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import h11


@dataclass(frozen=True)
class ReceivedCall:
    """One request as it reached the upstream."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Pause:
    """Wait until the test lets go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go = threading.Event()

    def let_go(self) -> None:
        self._go.set()

    async def wait(self) -> None:
        self.reached.set()
        await asyncio.to_thread(self._go.wait, 30)


@dataclass(frozen=True)
class Dawdle:
    """Take this long before the next step, as a slow upstream does."""

    seconds: float


class Stall:
    """Send nothing more and keep the connection open."""


class Reset:
    """End the connection with a TCP reset."""


class Hangup:
    """Close the connection in the middle, politely on the TCP level."""


Step = bytes | Pause | Dawdle | Stall | Reset | Hangup
Answer = Sequence[Step]
Script = Callable[[ReceivedCall], Answer]


@dataclass
class ScriptedUpstream:
    """The running server.

    Attributes:
        script: Makes the answer to a call; replace it at any time.
        calls: What came in, in order.
        departures: How many connections the other side closed while an answer was stalled.
    """

    script: Script
    calls: list[ReceivedCall] = field(default_factory=list)
    departures: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    connections: int = 0

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="scripted-upstream", daemon=True)
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
            try:
                await self._talk(reader, writer)
            except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
                pass
            finally:
                handlers.discard(task)
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stopping.wait()
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        while True:
            call = await _read_call(reader, writer, number)
            if call is None:
                return
            self.calls.append(call)
            for step in self.script(call):
                if not await self._perform(step, reader, writer):
                    return

    async def _perform(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Do one step; tell whether the connection lives on."""
        match step:
            case bytes():
                writer.write(step)
                await writer.drain()
            case Pause():
                await step.wait()
            case Dawdle():
                await asyncio.sleep(step.seconds)
            case Stall():
                await reader.read()
                self.departures.release()
                return False
            case Reset():
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            case Hangup():
                return False
        return True


async def _read_call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
) -> ReceivedCall | None:
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    request: h11.Request | None = None
    body: list[bytes] = []
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            if parser.they_are_waiting_for_100_continue:
                writer.write(parser.send(h11.InformationalResponse(status_code=100, headers=[])))
            parser.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            headers = list(request.headers.raw_items())
            return ReceivedCall(request.method.decode(), request.target, headers, b"".join(body), connection)
        else:
            return None


def plain(body: bytes, *, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """Make a sized answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), f"content-length: {len(body)}"]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n", body]


def json_answer(value: Any, *, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """Make a sized JSON answer."""
    return plain(json.dumps(value).encode(), status=status, headers=[("content-type", "application/json"), *headers])


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_scripted\r\n"
    b"set-cookie: a=1\r\nset-cookie: b=2\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


def framed(body: bytes) -> bytes:
    """Put one block into HTTP's chunked framing."""
    return b"%x\r\n%s\r\n" % (len(body), body)


def event(value: Any) -> bytes:
    """Make one server-sent event."""
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def stream_answer(chunks: Iterable[Any], *, done: bool = True) -> list[Step]:
    """Make a streamed answer, one block an event."""
    events = [event(chunk) for chunk in chunks] + ([event(b"[DONE]")] if done else [])
    return [STREAM_HEAD, *(framed(each) for each in events), STREAM_END]
