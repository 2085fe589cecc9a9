"""How bodies are kept: packed, cut at long strings, named by content."""

import sys
from hashlib import blake2b
from typing import NamedTuple

from store.json_text import long_strings
from store.trace import JsonText
from store.tree import ID_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LONG_STRING_BYTES = 16 * 1024
_PLAIN = b"\x00"
_ZSTD = b"\x01"
_ZSTD_LEVEL = 3
# Under this a frame's own header eats what it saves.
_WORTH_PACKING_BYTES = 64


class Cut(NamedTuple):
    """A string taken out of a message, and where it goes back in."""

    offset: int
    text: bytes


class Packer:
    """Packs bodies with one reused compressor; not for use by two threads at once."""

    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=_ZSTD_LEVEL)

    def pack(self, body: bytes) -> bytes:
        """Compress a body if that makes it smaller; the first byte tells `unpack` which."""
        if len(body) >= _WORTH_PACKING_BYTES:
            packed = self._compressor.compress(body, mode=zstd.ZstdCompressor.FLUSH_FRAME)
            if len(packed) < len(body):
                return _ZSTD + packed
        return _PLAIN + body


def unpack(packed: bytes) -> bytes:
    """Give back what `Packer.pack` was given.

    Raises:
        ValueError: The bytes were not made by it, or are damaged.
    """
    if packed[:1] == _PLAIN:
        return packed[1:]
    if packed[:1] == _ZSTD:
        try:
            return zstd.decompress(packed[1:])
        except zstd.ZstdError as exc:
            raise ValueError(f"a packed body is damaged: {exc}") from exc
    raise ValueError("a packed body has an unknown first byte")


def blob_id(body: bytes) -> bytes:
    """Name a value by its content."""
    return blake2b(body, digest_size=ID_BYTES).digest()


def cut_long_strings(message: JsonText) -> tuple[bytes, list[Cut]]:
    """Take the long strings, such as images in base64, out of a message, so that each is kept once.

    Returns:
        The message with nothing between those strings' quotes, and what stood there. `offset` counts the bytes of that
        shortened text, so no mark in the text is needed, and none can be mistaken for content.
    """
    if len(message) <= LONG_STRING_BYTES:
        return message, []
    kept: list[bytes] = []
    cuts: list[Cut] = []
    position = length = 0
    for start, end in long_strings(message, LONG_STRING_BYTES):
        kept.append(message[position:start])
        length += start - position
        cuts.append(Cut(length, message[start:end]))
        position = end
    kept.append(message[position:])
    return b"".join(kept), cuts


def put_back(shortened: bytes, cuts: list[Cut]) -> JsonText:
    """Undo `cut_long_strings`; the cuts come in order of their offset."""
    pieces: list[bytes] = []
    position = 0
    for cut in cuts:
        pieces += (shortened[position : cut.offset], cut.text)
        position = cut.offset
    pieces.append(shortened[position:])
    return b"".join(pieces)
