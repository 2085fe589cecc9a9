"""The admin application behind a real port, and a way to ask it that adds nothing of its own."""

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp

from store.trace import DeadLetter, Trace
from store.traces import TraceWriter


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Any]


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[int]:
    """The application behind a real port; gives the port."""
    config = uvicorn.Config(app, lifespan="on", log_config=None, http="h11", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serve


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[Ask]:
    """The application behind a real port; gives a function that asks it."""
    async with listening(app) as port:

        def ask_nowait(path: str, method: str, body: bytes | None, headers: dict[str, str]) -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request(method, path, body=body, headers=headers)
                answer = connection.getresponse()
                return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
            finally:
                connection.close()

        async def ask(path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await asyncio.to_thread(ask_nowait, path, method, body, named)

        yield ask


async def write(data_dir: Path, *traces: Trace, dead_letters: tuple[DeadLetter, ...] = ()) -> None:
    """Store traces as ingest does."""
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write(traces, dead_letters)
