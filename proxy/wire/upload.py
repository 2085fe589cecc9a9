"""A request's body on its way to an upstream, block by block and at the upstream's pace."""

from collections.abc import AsyncIterable
from contextlib import AsyncExitStack, aclosing
from typing import Protocol, cast

import httpx2 as httpx

from proxy.wire.framing import encode_chunk, encode_last_chunk
from proxy.wire.upstream_request import UpstreamRequest


class UploadSink(Protocol):
    """Where a body goes."""

    async def write_at_pace(self, data: bytes) -> None:
        """Write, and come back when there is room for more."""


class _Closing(Protocol):
    async def aclose(self) -> None: ...


async def upload(content: AsyncIterable[bytes], request: UpstreamRequest, sink: UploadSink) -> None:
    """Send the body that follows the request's head, in the framing that the head has declared.

    The blocks' own iterator is closed in any case.

    Raises:
        httpx.LocalProtocolError: The body is longer or shorter than declared.
        Exception: Whatever the body itself raises.
    """
    sent = 0
    blocks = aiter(content)
    async with AsyncExitStack() as stack:
        if hasattr(blocks, "aclose"):
            await stack.enter_async_context(aclosing(cast("_Closing", blocks)))
        async for block in blocks:
            if not block:
                continue
            sent += len(block)
            if request.length is not None and sent > request.length:
                raise httpx.LocalProtocolError(f"the request's body has more than the {request.length} bytes declared")
            await sink.write_at_pace(block if request.length is not None else encode_chunk(block))
    if request.length is None:
        await sink.write_at_pace(encode_last_chunk(request.make_trailers() if request.make_trailers else []))
    elif sent < request.length:
        raise httpx.LocalProtocolError(f"the request's body has {sent} bytes of the {request.length} declared")
