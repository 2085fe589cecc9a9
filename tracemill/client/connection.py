"""Where the admin side is, and how a request goes there; the one module of this client that knows httpx."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx

from tracemill.client.call import Asked
from tracemill.client.errors import AnswerError, TracemillError, UnreachableError, read_refusal

DEFAULT_URL = "http://127.0.0.1:8081"
TOKEN_VARIABLE = "TRACEMILL_ADMIN_TOKEN"  # noqa: S105 - the name of a variable


def options(base_url: str, token: str | None, timeout_s: float) -> dict[str, Any]:
    """Give what both of httpx's clients are made with.

    Redirects are not followed and no proxy of the environment is asked: the token goes to the base URL alone.

    Raises:
        ValueError: The URL or the token cannot be used.
    """
    if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).hostname:
        raise ValueError(f"base_url is {base_url!r}; expected a URL such as {DEFAULT_URL}.")
    given = os.environ.get(TOKEN_VARIABLE) if token is None else token
    headers = {"user-agent": "tracemill-client"}
    if given:
        if not (given.isascii() and given.isprintable()) or " " in given:
            raise ValueError("The token holds a character that no header field can.")
        headers["authorization"] = f"Bearer {given}"
    return {
        "base_url": base_url,
        "headers": headers,
        "timeout": timeout_s,
        "follow_redirects": False,
        "trust_env": False,
    }


def request_options(asked: Asked) -> dict[str, Any]:
    """Give the arguments of httpx's `stream` for a request."""
    headers = {} if asked.body is None else {"content-type": asked.media_type}
    return {
        "method": asked.method,
        "url": asked.path,
        "params": asked.parameters(),
        "content": asked.body,
        "headers": headers,
    }


@contextmanager
def sending(client: httpx.Client, asked: Asked) -> Iterator[httpx.Response]:
    """Send a request and give the answer while it comes in, if it is no error."""
    with _told(asked), client.stream(**request_options(asked)) as response:
        if not response.is_success:
            raise _refusal(response, response.read())
        yield response


@asynccontextmanager
async def sending_async(client: httpx.AsyncClient, asked: Asked) -> AsyncIterator[httpx.Response]:
    """Do as `sending` without blocking."""
    given = request_options(asked)
    if not isinstance(asked.body, bytes | None):
        given["content"] = _without_blocking(asked.body)
    with _told(asked):
        async with client.stream(**given) as response:
            if not response.is_success:
                raise _refusal(response, await response.aread())
            yield response


async def _without_blocking(blocks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Take blocks on another thread: reading a file, or unpacking it, takes its time."""
    taking = iter(blocks)
    while (block := await asyncio.to_thread(next, taking, None)) is not None:
        yield block


def _refusal(response: httpx.Response, body: bytes) -> TracemillError:
    if response.status_code < 400:
        return AnswerError(f"An answer of status {response.status_code} is none of the admin side: look at base_url.")
    return read_refusal(response.status_code, body, response.headers.get("retry-after"))


@contextmanager
def _told(asked: Asked) -> Iterator[None]:
    try:
        yield
    except httpx.RequestError as exc:
        kind = "no answer in time" if isinstance(exc, httpx.TimeoutException) else type(exc).__name__
        raise UnreachableError(
            f"{asked.method} {asked.path}: {kind} ({exc}); does `tracemill serve` run, and is this its admin port?"
        ) from exc
