"""Cutting what is sent into blocks: a line at a time would take longer than the lines."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

_BLOCK_BYTES = 64 * 1024


def in_blocks(lines: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    """Give a file's bytes, or lines that are joined, in blocks of some size."""
    if hasattr(lines, "read"):
        while block := lines.read(_BLOCK_BYTES):
            yield block
        return
    held = bytearray()
    for line in lines:
        held += line
        if len(held) >= _BLOCK_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
