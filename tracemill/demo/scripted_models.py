"""A server of scripted models, OpenAI-compatible as far as the demo needs: `python -m tracemill.demo.scripted_models`.

It stands in for a provider, so that the demo needs no key and no internet.
"""

import argparse
import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tracemill.demo.cast import CAST, perform
from tracemill.demo.completions import as_events, chunks, completion

READY = "scripted models ready: "
"""What the one line on stdout begins with; the base URL follows."""


def scripted_models(*, chunk_delay_ms: float) -> Starlette:
    """Make the server's application.

    Args:
        chunk_delay_ms: How long a stream rests after each chunk, so that it takes time as a model's does.
    """

    async def chat_completions(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ValueError:
            return _error(400, "The request's body is not JSON.", "invalid_json")
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            return _error(400, "The request has no array `messages`.", "missing_messages")
        actor = CAST.get(str(body.get("model")))
        if actor is None:
            return _error(404, f"The model `{body.get('model')}` does not exist.", "model_not_found")
        whole = completion(body, perform(actor, body), created=int(time.time()))
        headers = {"x-request-id": f"req_{whole['id'][9:]}"}
        if not body.get("stream"):
            return JSONResponse(whole, headers=headers)
        options = body.get("stream_options") or {}
        events = as_events(chunks(whole, include_usage=bool(options.get("include_usage"))))

        async def paced() -> AsyncIterator[bytes]:
            for event in events:
                yield event
                await asyncio.sleep(chunk_delay_ms / 1000)

        return StreamingResponse(paced(), media_type="text/event-stream", headers=headers)

    async def models(_: Request) -> Response:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "scripted"} for name in CAST]
        return JSONResponse({"object": "list", "data": listed})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
        ]
    )


def _error(status: int, message: str, code: str) -> JSONResponse:
    error: dict[str, Any] = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status_code=status)


def main() -> None:
    """Serve on loopback until told to stop; says its address on stdout when ready."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=0, help="0 picks a free port")
    options.add_argument("--chunk-delay-ms", type=float, default=1.0, help="rest after each chunk of a stream")
    chosen = options.parse_args()
    with socket.create_server(("127.0.0.1", chosen.port)) as listener:
        print(f"{READY}http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
        app = scripted_models(chunk_delay_ms=chosen.chunk_delay_ms)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
