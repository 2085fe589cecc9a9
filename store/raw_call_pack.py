"""Some raw calls as one piece of a file: compressed together, since calls of one time repeat each other's text.

    "TMRP" · length of the frame · CRC-32 of the frame (4 bytes each, big-endian) · the frame, zstd

Unpacked, the frame is one entry for each call: number of its trace (8 bytes), id (16), length (4), the bytes. A pack
that is written again with fewer calls lies in the same place, with zeros behind it.
"""

import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"TMRP"
_HEAD = struct.Struct(">4sII")
_CALL = struct.Struct(">Q16sI")
_LEVELS = (1, 9, 19)
"""The first is what a pack is made with; the others are for fewer calls that have to fit into the place of more."""
PACK_BYTES = 512 * 1024
"""Where a pack is full, unpacked: to read one call is to unpack as much, about a millisecond."""
MAX_CALL_BYTES = 2**32 - 1


class RawCallBytes(NamedTuple):
    """One call's bytes and whose they are.

    Attributes:
        number: Of the trace, as in `traces.number`.
        id: The trace id's 16 bytes.
    """

    number: int
    id: bytes
    body: bytes


class DamagedPackError(Exception):
    """What lies in a pack's place is none, or is damaged."""


def encode_pack(calls: Iterable[RawCallBytes], level: int = _LEVELS[0]) -> bytes:
    """Return calls as one pack."""
    pieces: list[bytes] = []
    for number, id_, body in calls:
        pieces += (_CALL.pack(number, id_, len(body)), body)
    frame = zstd.compress(b"".join(pieces), level)
    return _HEAD.pack(_MAGIC, len(frame), zlib.crc32(frame)) + frame


def encode_into(calls: list[RawCallBytes], size: int) -> bytes | None:
    """Return calls as one pack of exactly `size` bytes, filled up with zeros; None when they do not fit."""
    for level in _LEVELS:
        pack = encode_pack(calls, level)
        if len(pack) <= size:
            return pack.ljust(size, b"\0")
    return None


def decode_pack(data: bytes) -> list[RawCallBytes]:
    """Read what `encode_pack` wrote; what is behind it is passed over.

    Raises:
        DamagedPackError: It is no pack, or its checksum does not hold.
    """
    if len(data) < _HEAD.size:
        raise DamagedPackError
    magic, length, crc = _HEAD.unpack_from(data)
    frame = data[_HEAD.size : _HEAD.size + length]
    if magic != _MAGIC or len(frame) != length or zlib.crc32(frame) != crc:
        raise DamagedPackError
    try:
        return list(_calls(zstd.decompress(frame)))
    except (zstd.ZstdError, struct.error) as error:
        raise DamagedPackError from error


def _calls(data: bytes) -> Iterator[RawCallBytes]:
    at = 0
    while at < len(data):
        number, id_, length = _CALL.unpack_from(data, at)
        at += _CALL.size
        yield RawCallBytes(number, id_, data[at : at + length])
        at += length
