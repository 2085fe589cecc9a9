"""A scripted embedding server on loopback: real HTTP, vectors that depend on the words alone."""

import hashlib
import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Body = dict[str, Any]
DIMENSIONS = 32


class EmbeddingServer:
    """The server's script and what it was asked.

    Attributes:
        requests: Every request body.
        script: Makes status and answer of a request; may be replaced.
        chat: Makes the answer to a chat completion.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.requests: list[Body] = []
        self.script: Callable[[Body], tuple[int, Any]] = answer
        self.chat: Callable[[Body], str] = lambda _: "{}"
        self._lock = threading.Lock()

    @property
    def texts(self) -> list[str]:
        """All texts that it was asked about."""
        return [text for body in self.requests for text in body["input"]]

    async def embed(self, request: Request) -> Response:
        body = json.loads(await request.body())
        with self._lock:
            self.requests.append(body)
        status, value = self.script(body)
        return Response(json.dumps(value), status, media_type="application/json")

    async def complete(self, request: Request) -> Response:
        content = self.chat(json.loads(await request.body()))
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        value = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        return Response(json.dumps(value), media_type="application/json")


def answer(body: Body) -> tuple[int, Any]:
    data = [{"object": "embedding", "index": at, "embedding": vector(text)} for at, text in enumerate(body["input"])]
    count = sum(len(text.split()) for text in body["input"])
    # Out of order, which the form allows.
    return 200, {"object": "list", "data": data[::-1], "usage": {"prompt_tokens": count, "total_tokens": count}}


def vector(text: str) -> list[float]:
    """Sum up a random direction for each word; the first word counts most."""
    found = [0.0] * DIMENSIONS
    for at, word in enumerate(text.lower().split()):
        digest = hashlib.blake2b(word.encode(), digest_size=DIMENSIONS).digest()
        found = [value + (byte - 127.5) * (3 if at == 0 else 0.3) for value, byte in zip(found, digest, strict=True)]
    length = math.sqrt(sum(value * value for value in found)) or 1.0
    return [3 * value / length for value in found]


@contextmanager
def serving_embeddings() -> Iterator[EmbeddingServer]:
    """Serve until the block ends."""
    scripted = EmbeddingServer()
    routes = [
        Route("/v1/embeddings", scripted.embed, methods=["POST"]),
        Route("/v1/chat/completions", scripted.complete, methods=["POST"]),
    ]
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    scripted.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    config = uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="scripted embeddings")
    thread.start()
    try:
        yield scripted
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
