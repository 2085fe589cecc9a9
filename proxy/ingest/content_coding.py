"""Undoing the content codings of a captured copy (RFC 9110 section 8.4), with a hard bound on what comes out.

Only ingest decodes, and only a copy: what a client gets keeps its coding untouched. The bound is on the bytes that come
out of every single coding, so a small bomb inside a big one is caught as early as a plain one.
"""

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import brotli  # type: ignore[import-untyped]

from proxy.errors import ProxyError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD_WINDOW_LOG_MAX = 23
"""RFC 9659: the `zstd` content coding uses windows of at most 8 MiB."""

_STEP_BYTES = 64 * 1024


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


@dataclass(frozen=True, slots=True)
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
    out = bytearray()
    while True:
        member = zlib.decompressobj(wbits=31)
        out += member.decompress(body, max_bytes + 1 - len(out))
        if len(out) > max_bytes:
            raise _over_bound(coding, max_bytes)
        if not member.eof:
            return Decoded(bytes(out), is_whole=False)
        body = member.unused_data
        if not body.startswith(b"\x1f\x8b"):
            return Decoded(bytes(out), is_whole=True)


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


def _unzstd(body: bytes, coding: str, max_bytes: int) -> Decoded:
    """Decode zstd frames one after another (RFC 8878 section 3)."""
    out = bytearray()
    while body:
        frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX})
        out += frame.decompress(body, max_length=max_bytes + 1 - len(out))
        if len(out) > max_bytes:
            raise _over_bound(coding, max_bytes)
        if not frame.eof:
            return Decoded(bytes(out), is_whole=False)
        body = frame.unused_data
    return Decoded(bytes(out), is_whole=True)


_DECODERS: dict[str, Callable[[bytes, str, int], Decoded]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
