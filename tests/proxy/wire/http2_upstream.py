"""An upstream that speaks HTTP/2 over TLS, scripted by the path that is asked for."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

_PACE_S = 0.005


@dataclass
class Http2Upstream:
    """What is running.

    Attributes:
        connections: How many were opened.
        open: How many still are.
        bodies: What was received, call by call.
    """

    port: int = 0
    connections: int = 0
    open: int = 0
    bodies: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        answers: list[asyncio.Task[None]] = []
        try:
            await self._talk(reader, writer, answers)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            for answer in answers:
                answer.cancel()
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: list[asyncio.Task[None]]
    ) -> None:
        state = H2Connection(H2Configuration(client_side=False, header_encoding="ascii"))
        state.initiate_connection()
        writer.write(state.data_to_send())
        asked: dict[int, tuple[str, bytes]] = {}
        while data := await reader.read(65536):
            for event in state.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = dict(event.headers)[":path"], b""  # type: ignore[arg-type]
                elif isinstance(event, DataReceived):
                    path, body = asked[event.stream_id]
                    asked[event.stream_id] = path, body + event.data
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    path, body = asked.pop(event.stream_id)
                    self.bodies.append(body)
                    answers.append(asyncio.create_task(_answer(state, writer, event.stream_id, path)))
            writer.write(state.data_to_send())


async def _answer(state: H2Connection, writer: asyncio.StreamWriter, stream: int, path: str) -> None:
    """`/endless` is answered for ever, `/last` ends its connection, everything else is answered with its path."""
    state.send_headers(stream, [(":status", "200"), ("set-cookie", "a=1"), ("set-cookie", "b=2")])
    try:
        while path == "/endless":
            state.send_data(stream, b"x")
            writer.write(state.data_to_send())
            await asyncio.sleep(_PACE_S)
        state.send_data(stream, path.encode(), end_stream=True)
    except ProtocolError:
        return
    writer.write(state.data_to_send())
    if path == "/last":
        await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def http2_upstream(tls: ssl.SSLContext) -> AsyncIterator[Http2Upstream]:
    """Run one; `tls` is its certificate."""
    tls.set_alpn_protocols(["h2"])
    running = Http2Upstream()
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        async with asyncio.timeout(5):
            while running.open:
                await asyncio.sleep(_PACE_S)
