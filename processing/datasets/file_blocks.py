"""The bytes of a text file that may be packed, in blocks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from store.recorded.errors import LineError
from store.recorded.file_lines import unpacked

SAMPLE_BYTES: Final = 256 * 1024
_BLOCK_BYTES: Final = 1024 * 1024


def blocks_of(path: Path) -> Iterator[bytes]:
    """Read a file in blocks, as it is."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def beginning_of(path: Path) -> bytes:
    """Give the beginning of a file, unpacked; less where it is damaged."""
    start = bytearray()
    try:
        for block in unpacked(blocks_of(path)):
            start += block
            if len(start) >= SAMPLE_BYTES:
                break
    except LineError:
        return bytes(start)
    return bytes(start[:SAMPLE_BYTES])
