"""The journal's entries as bytes: encoding, and reading them back out of a damaged file.

A segment begins with 16 bytes: "TMJRNL1", a line feed, and the writer's *mark*, 8 random bytes. One entry, all integers
big-endian:

    mark    8 bytes   the writer's mark
    length  4 bytes   size of the payload
    crc     4 bytes   CRC-32 of the payload
    payload: kind 1 byte · trace id 16 bytes · size of meta 4 bytes · meta (JSON) · body (raw bytes)

A call is written as one `BEGIN`, any number of `REQUEST` and `RESPONSE` parts, for event streams an `ANSWERED`, and one
`END`; the bodies of the parts, joined, are the bodies as they crossed the wire. Two kinds belong to no call and have an
id of their own: a `GAP` declares calls that the journal had no room for, a `CHANGE` asks something of the store.

Every entry has a checksum of its own, so that one bad entry costs one entry: the reader goes on at the next mark whose
checksum holds. The mark is random so that no body, which is a client's or an upstream's text, can hold something that
reads as an entry.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple
from uuid import UUID

import orjson

SEGMENT_MAGIC = b"TMJRNL1\n"
MARK_SIZE = 8
SEGMENT_HEAD_SIZE = len(SEGMENT_MAGIC) + MARK_SIZE
_HEAD = struct.Struct(">8sII")
_PAYLOAD_HEAD = struct.Struct(">B16sI")
_ENTRY_HEAD = struct.Struct(">8sIIB16sI")
"""Both at once, for reading."""


class EntryKind(IntEnum):
    """What an entry tells of its call."""

    BEGIN = 1
    """The call arrived. Meta: everything known of it; body: what was there of the request's body."""
    REQUEST = 2
    """More of the request's body."""
    RESPONSE = 3
    """More of the answer's body."""
    ANSWERED = 4
    """The client is about to have the whole answer. Meta as in END; body: more of the answer's body."""
    END = 5
    """The call ended. Meta: how; body: the rest of the answer's body."""
    GAP = 6
    """Calls or bodies were shed. Meta: reason, count, and the times of the first and the last one; no body."""
    CHANGE = 7
    """Something is asked of the store (`store.change`). The id is the change's own. Meta: kind, when, by whom."""


_KINDS = {int(kind): kind for kind in EntryKind}


class Entry(NamedTuple):
    """One entry read back.

    Attributes:
        id: The trace id's 16 bytes.
        body: A view of the piece of the segment that was read.
        offset: Where it begins in its segment.
        end: Where the next one begins.
        body_offset: Where its body begins in the segment.
    """

    kind: EntryKind
    id: bytes
    meta: dict[str, Any]
    body: memoryview
    offset: int
    end: int
    body_offset: int

    @property
    def trace_id(self) -> UUID:
        """The id as such; made when asked for, since that costs as much as reading the entry."""
        return UUID(bytes=self.id)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that hold no readable entry, from `offset` to `end`."""

    offset: int
    end: int


def encode(
    mark: bytes, kind: EntryKind, trace_id: UUID, meta: dict[str, Any] | None = None, body: bytes = b""
) -> bytes:
    """Return one entry as bytes, ready to be appended."""
    meta_bytes = orjson.dumps(meta) if meta else b""
    head = _PAYLOAD_HEAD.pack(kind, trace_id.bytes, len(meta_bytes))
    crc = zlib.crc32(body, zlib.crc32(meta_bytes, zlib.crc32(head)))
    length = len(head) + len(meta_bytes) + len(body)
    return b"".join((_HEAD.pack(mark, length, crc), head, meta_bytes, body))


def read_entries(mark: bytes, data: bytes, base: int) -> Iterator[Entry | Damage]:
    """Yield the entries of a piece of a segment, and the damage between them.

    Stops where no sound entry follows: the rest may be an entry that is still being written. The caller asks again when
    there is more, or declares the rest torn when there will never be more.

    Args:
        mark: The writer's mark.
        data: Bytes of the segment from `base` on; `base` is where an entry begins.
        base: Offset of `data` in the segment.
    """
    view = memoryview(data)
    size = len(data)
    position = 0
    while position + _ENTRY_HEAD.size <= size:
        found, length, crc, kind, id_, meta_size = _ENTRY_HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        end = start + length
        if found != mark or not _PAYLOAD_HEAD.size <= length <= size - start or zlib.crc32(view[start:end]) != crc:
            resume = _next_sound(mark, data, view, position + 1)
            if resume is None:
                return
            yield Damage(base + position, base + resume)
            position = resume
            continue
        kind = _KINDS.get(kind)
        if kind is None:
            # A newer version may write kinds that this one does not know: those cost themselves, not the segment.
            yield Damage(base + position, base + end)
        else:
            body = position + _ENTRY_HEAD.size + meta_size
            meta = orjson.loads(view[body - meta_size : body]) if meta_size else {}
            yield Entry(kind, id_, meta, view[body:end], base + position, base + end, base + body)
        position = end


def _is_sound(mark: bytes, view: memoryview, position: int) -> bool:
    """Tell whether a whole entry with a right checksum is at `position`."""
    start = position + _HEAD.size
    if start > len(view):
        return False
    found, length, crc = _HEAD.unpack_from(view, position)
    if found != mark or not _PAYLOAD_HEAD.size <= length <= len(view) - start:
        return False
    return bool(zlib.crc32(view[start : start + length]) == crc)


def _next_sound(mark: bytes, data: bytes, view: memoryview, position: int) -> int | None:
    while (position := data.find(mark, position)) >= 0:
        if _is_sound(mark, view, position):
            return position
        position += 1
    return None
