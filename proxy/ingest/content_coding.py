"""Undoing the content codings of a captured copy (RFC 9110 section 8.4), with a hard bound on what comes out.

Only ingest decodes, and only a copy: what a client gets keeps its coding untouched. The bound is on the bytes that come
out of every single coding, so a small bomb inside a big one is caught as early as a plain one.
"""

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

import brotli  # type: ignore[import-untyped]

from proxy.errors import ProxyError
from store.record import record

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD_WINDOW_LOG_MAX = 23
"""RFC 9659: the `zstd` content coding uses windows of at most 8 MiB."""

_STEP_BYTES = 16 * 1024
_MAX_FRAMES = 10_000
"""Servers write one member or frame, or one for each block they flush; a million empty ones only cost our time."""


class ContentCodingError(ProxyError):
    """A body that cannot be decoded.

    Attributes:
        coding: The coding at fault, as the header named it.
        reason: `unknown`, `broken` or `over_bound`.
    """

    def __init__(self, coding: str, reason: str, detail: str) -> None:
        self.coding = coding
        self.reason = reason
        super().__init__(f"content-encoding {coding!r}: {detail}")


@record(frozen=True, slots=True)
class Decoded:
    """A decoded body.

    Attributes:
        body: What could be decoded.
        is_whole: False when a coding's own end mark is missing: the body was cut short on its way.
    """

    body: bytes
    is_whole: bool


def decode(body: bytes, content_encoding: str, *, max_bytes: int) -> Decoded:
    """Undo the codings that a `content-encoding` header lists, the last one first.

    Args:
        body: The captured bytes; they may end early.
        content_encoding: The header's value, several fields joined by commas; "" for none.
        max_bytes: The most that any single coding may give.

    Raises:
        ContentCodingError: a coding is unknown, its bytes are broken, or more than `max_bytes` would come out.
    """
    if not content_encoding and len(body) <= max_bytes:
        return Decoded(body, is_whole=True)
    codings = [name for part in content_encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if len(body) > max_bytes:
        raise _over_bound("identity", max_bytes)
    is_whole = True
    for coding in reversed(codings):
        decoder = _DECODERS.get(coding)
        if decoder is None:
            raise ContentCodingError(coding, "unknown", f"is not one of {', '.join(sorted(_DECODERS))}, identity")
        if not body:
            break
        try:
            decoded = decoder(body, coding, max_bytes)
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as exc:
            raise ContentCodingError(coding, "broken", f"the bytes do not decode: {exc}") from exc
        body, is_whole = decoded.body, is_whole and decoded.is_whole
    return Decoded(body, is_whole)


def _over_bound(coding: str, max_bytes: int) -> ContentCodingError:
    return ContentCodingError(coding, "over_bound", f"the body is larger than {max_bytes} bytes once decoded")


def _gunzip(body: bytes, coding: str, max_bytes: int) -> Decoded:
    """Decode gzip members one after another; padding after the last one is not data (RFC 1952 section 2.2)."""
    return _decode_frames(body, coding, max_bytes, lambda: zlib.decompressobj(wbits=31), start=b"\x1f\x8b")


def _unzstd(body: bytes, coding: str, max_bytes: int) -> Decoded:
    """Decode zstd frames one after another (RFC 8878 section 3)."""
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}
    return _decode_frames(body, coding, max_bytes, lambda: zstd.ZstdDecompressor(options=options), start=b"")


class _FrameDecoder(Protocol):
    """What the decoders of one gzip member and of one zstd frame have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _decode_frames(
    body: bytes, coding: str, max_bytes: int, make_decoder: Callable[[], _FrameDecoder], *, start: bytes
) -> Decoded:
    """Decode frames until the body ends or goes on with something else than the start of a frame.

    They are fed in steps: a decoder hands back what follows its frame as a copy, and a body of nothing but empty frames
    would be copied whole for each of them.
    """
    out = bytearray()
    position = 0
    for _ in range(_MAX_FRAMES):
        decoder = make_decoder()
        while not decoder.eof and position < len(body):
            step = body[position : position + _STEP_BYTES]
            out += decoder.decompress(step, max_bytes + 1 - len(out))
            if len(out) > max_bytes:
                raise _over_bound(coding, max_bytes)
            position += len(step) - len(decoder.unused_data)
        if not decoder.eof:
            return Decoded(bytes(out), is_whole=False)
        if position == len(body) or not body.startswith(start, position):
            return Decoded(bytes(out), is_whole=True)
    raise ContentCodingError(coding, "broken", f"the body is cut into more than {_MAX_FRAMES} pieces")


def _inflate(body: bytes, coding: str, max_bytes: int) -> Decoded:
    """Decode `deflate`: the zlib form of the standard, or the bare one that some servers send under that name."""
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        stream = zlib.decompressobj(wbits=-15)
        out = stream.decompress(body, max_bytes + 1)
    if len(out) > max_bytes:
        raise _over_bound(coding, max_bytes)
    return Decoded(out, is_whole=stream.eof)


def _unbrotli(body: bytes, coding: str, max_bytes: int) -> Decoded:
    stream = brotli.Decompressor()
    out = bytearray(stream.process(body, output_buffer_limit=_STEP_BYTES))
    while not stream.can_accept_more_data():
        if len(out) > max_bytes:
            raise _over_bound(coding, max_bytes)
        out += stream.process(b"", output_buffer_limit=_STEP_BYTES)
    if len(out) > max_bytes:
        raise _over_bound(coding, max_bytes)
    return Decoded(bytes(out), is_whole=stream.is_finished())


_DECODERS: dict[str, Callable[[bytes, str, int], Decoded]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
