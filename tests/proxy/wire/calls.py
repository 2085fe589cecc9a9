"""Calls through the pool as a user of the seam makes them."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx2 as httpx

TIMEOUTS: dict[str, float | None] = {"connect": 5, "first_byte": 10, "read": 10, "write": 10}


class Blocks(httpx.AsyncByteStream):
    """A body that comes block by block."""

    def __init__(self, blocks: AsyncIterator[bytes]) -> None:
        self._blocks = blocks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._blocks


class Whole(httpx.AsyncByteStream):
    """A body that is there as a whole."""

    def __init__(self, body: bytes) -> None:
        self.body = body


async def each(blocks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def request(
    method: str,
    url: str,
    *,
    fields: Iterable[tuple[bytes, bytes]] = (),
    body: bytes | AsyncIterator[bytes] = b"",
    timeouts: dict[str, float | None] | None = None,
    **extensions: Any,
) -> httpx.Request:
    """Make a request whose framing is that of its body: sized when it is whole, else chunked."""
    framing = []
    if isinstance(body, bytes) and (body or method == "POST"):
        framing = [(b"Content-Length", b"%d" % len(body))]
    elif not isinstance(body, bytes):
        framing = [(b"Transfer-Encoding", b"chunked")]
    given = list(fields)
    if any(name.lower() == b"content-length" for name, _ in given):
        framing = []
    return httpx.Request(
        method,
        url,
        headers=[(b"Host", b"upstream.test"), *given, *framing],
        stream=Whole(body) if isinstance(body, bytes) else Blocks(body),
        extensions={"timeout": {**TIMEOUTS, **(timeouts or {})}, **extensions},
    )


async def read(response: httpx.Response) -> list[bytes]:
    """Read an answer's blocks to the end and close it."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        return [block async for block in response.stream]
    finally:
        await response.aclose()
