"""The proxy that one writes in an afternoon: a starlette StreamingResponse over an httpx client. It records nothing.

python plain_proxy.py PORT UPSTREAM
"""

import sys

import httpx2 as httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

# With its default limits the client stops keeping connections once 20 calls are active; this is the kinder comparison.
_client = httpx.AsyncClient(
    base_url=sys.argv[2], timeout=60, limits=httpx.Limits(max_connections=None, max_keepalive_connections=None)
)


async def relay(request: Request) -> StreamingResponse:
    """Forward one call."""
    headers = [(name, value) for name, value in request.headers.raw if name != b"host"]
    sent = _client.build_request(request.method, request.url.path, content=await request.body(), headers=headers)
    answer = await _client.send(sent, stream=True)
    kept = {name: value for name, value in answer.headers.items() if name != "transfer-encoding"}
    return StreamingResponse(answer.aiter_raw(), answer.status_code, kept)


if __name__ == "__main__":
    application = Starlette(routes=[Route("/{path:path}", relay, methods=["GET", "POST"])])
    uvicorn.run(application, port=int(sys.argv[1]), log_level="error", backlog=4096)
