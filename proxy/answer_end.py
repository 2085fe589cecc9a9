"""Which block completes an answer: after it, the client has everything.

The trace must be in the journal before that block is sent (`docs/contract.md`, C1). How the end shows depends on how
the answer is framed:

- sized (`Content-Length`): the block that brings the last byte;
- an event stream: the block that holds `data: [DONE]`, after which clients stop reading; bytes may still follow;
- anything else: only the end of the body tells, so one block is held back until the next one or the end comes. Such
  bodies are not read piece by piece by anybody (a JSON object is of no use before its last brace).

An event stream without `[DONE]` ends with its body, and so does one under a content-encoding, where `[DONE]` cannot be
seen: its blocks are passed on at once and the final, empty block is the one that completes it.
"""

import re
from collections.abc import AsyncIterator
from enum import Enum
from typing import NamedTuple

from proxy.headers import RawHeaders, first

_DONE = re.compile(rb"[\r\n]data: ?\[DONE\]")
_DONE_SPAN = len(b"\ndata: [DONE]")


class Mark(Enum):
    """What a block is to its answer."""

    PART = "part"
    DONE_EVENT = "done_event"
    """The event after which clients have the whole answer, though bytes may follow."""
    LAST = "last"


class MarkedBlock(NamedTuple):
    """A block and what it is to the answer."""

    block: bytes
    mark: Mark


def mark_blocks(headers: RawHeaders, blocks: AsyncIterator[bytes]) -> AsyncIterator[MarkedBlock]:
    """Pass the blocks of one answer on, each with its mark; sizes and order are kept.

    Args:
        headers: The answer's header fields.
        blocks: The answer's body as it comes, content-encoding still on.
    """
    content_type = (first(headers, b"content-type") or b"").lower()
    if content_type.startswith(b"text/event-stream"):
        return _until_done(blocks)
    length = first(headers, b"content-length")
    if length is not None and length.isdigit():
        return _until_length(blocks, int(length))
    return _hold_one_back(blocks)


async def _until_length(blocks: AsyncIterator[bytes], length: int) -> AsyncIterator[MarkedBlock]:
    received = 0
    async for block in blocks:
        received += len(block)
        yield MarkedBlock(block, Mark.LAST if received == length else Mark.PART)


async def _until_done(blocks: AsyncIterator[bytes]) -> AsyncIterator[MarkedBlock]:
    tail = b"\n"  # the first line of a body begins a line, too
    is_done = False
    async for block in blocks:
        mark = Mark.PART
        if not is_done and b"]" in block and _DONE.search(tail + block):
            is_done, mark = True, Mark.DONE_EVENT
        tail = (tail + block)[-_DONE_SPAN:]
        yield MarkedBlock(block, mark)


async def _hold_one_back(blocks: AsyncIterator[bytes]) -> AsyncIterator[MarkedBlock]:
    held: bytes | None = None
    async for block in blocks:
        if held is not None:
            yield MarkedBlock(held, Mark.PART)
        held = block
    if held is not None:
        yield MarkedBlock(held, Mark.LAST)
