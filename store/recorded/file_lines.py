r"""The lines of a file that comes in blocks: plain, or compressed with gzip or zstd, of any size.

Lines end at `\n` bytes only. Nothing is ever held but a block and a line; a line longer than any call is told as such,
with its beginning. A compressed block is unpacked piece by piece, so one that inflates beyond measure costs time only.
"""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from store.recorded.errors import LineError, RejectReason

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Twice what the largest call holds that is captured by default."""
_KEPT_BYTES: Final = 64 * 1024
"""Of a line that is too long."""
_PIECE_BYTES: Final = 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class FileLine(NamedTuple):
    """One line.

    Attributes:
        number: From 1.
        text: Without its end, and without a byte order mark at the file's beginning; of a line that cannot be taken its
            beginning.
        fault: Why the line cannot be taken; None for any other.
    """

    number: int
    text: bytes
    fault: LineError | None = None


def file_lines(blocks: Iterable[bytes], *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[FileLine]:
    """Give the lines of a file, blank ones too.

    Args:
        blocks: The file's bytes in pieces of any size; compressed ones are known by their first bytes.
        max_line_bytes: A longer line is given with its beginning alone, and a fault.
    """
    number, parts, size = 0, list[bytes](), 0
    fault: LineError | None = None
    try:
        for block in unpacked(blocks):
            *ends, rest = block.split(b"\n")
            for end in ends:
                number += 1
                yield _line(number, parts, end, size + len(end), max_line_bytes)
                parts, size = [], 0
            if rest:
                if size <= max_line_bytes:
                    parts.append(rest)
                size += len(rest)
    except LineError as broken:
        fault = broken
    if size or fault is not None:
        yield _line(number + 1, parts, b"", size, max_line_bytes, fault)


def _line(
    number: int, parts: list[bytes], end: bytes, size: int, max_line_bytes: int, fault: LineError | None = None
) -> FileLine:
    if fault is None and size > max_line_bytes:
        fault = LineError(RejectReason.TOO_LONG, f"the line has {size} bytes; at most {max_line_bytes} are taken")
    text = b"".join((*parts, end))
    text = (text if fault is None else text[:_KEPT_BYTES]).removesuffix(b"\r")
    return FileLine(number, text.removeprefix(_BYTE_ORDER_MARK) if number == 1 else text, fault)


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack a file that begins as gzip or zstd do; any other is given as it is.

    Raises:
        LineError: `broken_file`: it is damaged, or ends before its end.
    """
    source = iter(blocks)
    start = b""
    for block in source:
        start += block
        if len(start) >= len(_ZSTD):
            break
    if start.startswith(_GZIP):
        yield from _unpacked(start, source, lambda: _Gunzip(), "gzip")
    elif start.startswith(_ZSTD):
        yield from _unpacked(start, source, lambda: _Unzstd(), "zstd")
    else:
        if start:
            yield start
        yield from source


class _Frame(Protocol):
    """Unpacks one gzip member or one zstd frame."""

    @property
    def is_done(self) -> bool: ...
    @property
    def rest(self) -> bytes: ...
    def feed(self, data: bytes) -> Iterator[bytes]: ...


class _Gunzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def is_done(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._inner.eof:
            yield self._inner.decompress(data, _PIECE_BYTES)
            data = self._inner.unconsumed_tail


class _Unzstd:
    def __init__(self) -> None:
        self._inner = zstd.ZstdDecompressor()

    @property
    def is_done(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._inner.decompress(data, _PIECE_BYTES)
        while not self._inner.needs_input and not self._inner.eof:
            yield self._inner.decompress(b"", _PIECE_BYTES)


def _unpacked(start: bytes, source: Iterator[bytes], make: Callable[[], _Frame], kind: str) -> Iterator[bytes]:
    frame: _Frame | None = make()
    data = start
    try:
        while True:
            while data:
                # Zeros after the last member pad tape blocks (RFC 1952 leaves them to the reader).
                if frame is None:
                    data = data.lstrip(b"\0")
                    frame = make() if data else None
                if frame is not None:
                    yield from (piece for piece in frame.feed(data) if piece)
                    data = frame.rest if frame.is_done else b""
                    frame = None if frame.is_done else frame
            block = next(source, None)
            if block is None:
                break
            data = block
    except (zlib.error, zstd.ZstdError, EOFError) as exc:
        raise LineError(RejectReason.BROKEN_FILE, f"the {kind} data is damaged here: {exc}") from exc
    if frame is not None:
        raise LineError(RejectReason.BROKEN_FILE, f"the {kind} data ends in the middle")
