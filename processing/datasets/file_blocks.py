r"""The bytes of a text file in blocks, as readers of lines want them: unpacked, in UTF-8, and with `\n` at line ends.

UTF-16 and UTF-32 are known by their byte order marks, which spreadsheets write. Where no mark is, they are known by
the zeros that any ASCII text has in them, and refused: nothing tells such a text from a damaged one. A file without a
single `\n` whose lines end at `\r`, as old Macs wrote them, is read by those.
"""

import codecs
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from processing.errors import InputError
from store.recorded.errors import LineError, RejectReason
from store.recorded.file_lines import unpacked

SAMPLE_BYTES: Final = 256 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_MARKS: Final = (
    # The mark of UTF-16 LE begins that of UTF-32 LE.
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_ZEROS: Final[Mapping[tuple[bool, ...], str]] = {
    (True, True, True, False): "UTF-32BE",
    (False, True, True, True): "UTF-32LE",
    (True, False, True, False): "UTF-16BE",
    (False, True, False, True): "UTF-16LE",
}
"""Which of the first four bytes are zero in a text that begins with two ASCII characters (RFC 4627, section 3)."""


def text_blocks(path: Path, name: str) -> Iterator[bytes]:
    """Read a text file from its beginning.

    Args:
        path: Where it lies; it may be packed with gzip or zstd.
        name: What to call it.

    Raises:
        InputError: It is UTF-16 or UTF-32 without a byte order mark.
        LineError: `broken_file`: it is damaged, or ends before its end.
    """
    start = _start(_unpacked(path))
    encoding = _encoding(start, name)
    sample = start if encoding is None else start.decode(encoding, "replace").encode("utf-8", "replace")
    ends_at_returns = b"\r" in sample and b"\n" not in sample
    blocks = _unpacked(path)
    for block in blocks if encoding is None else _as_utf8(blocks, encoding):
        yield block.replace(b"\r", b"\n") if ends_at_returns else block


def beginning_of(path: Path, name: str) -> bytes:
    """Give the beginning of a file as `text_blocks` does; less where it is damaged."""
    return _start(text_blocks(path, name))


def _unpacked(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from unpacked(iter(lambda: file.read(_BLOCK_BYTES), b""))


def _start(blocks: Iterator[bytes]) -> bytes:
    start = bytearray()
    try:
        for block in blocks:
            start += block
            if len(start) >= SAMPLE_BYTES:
                break
    except LineError:
        return bytes(start)
    return bytes(start[:SAMPLE_BYTES])


def _encoding(start: bytes, name: str) -> str | None:
    """Tell what a text is written in by its beginning; None for UTF-8, and for whatever is no text.

    Raises:
        InputError: It is UTF-16 or UTF-32 without a byte order mark.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    unmarked = _ZEROS.get(tuple(byte == 0 for byte in start[:4]))
    if unmarked is not None:
        problem = f"is {unmarked} without a byte order mark. Convert it to UTF-8: iconv -f {unmarked} -t UTF-8"
        source, target = shlex.quote(name), shlex.quote(f"utf8-{Path(name).name}")
        raise InputError(name, f"{problem} {source} > {target}")
    return None


def _as_utf8(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Write a text anew; halves of characters are kept, which fail where they stand.

    Raises:
        LineError: It ends in the middle of a character, or holds what is none.
    """
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for block in blocks:
            if text := decoder.decode(block):
                yield text.encode("utf-8", "surrogatepass")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as exc:
        raise LineError(RejectReason.BROKEN_FILE, f"from here on the file is not {encoding}: {exc.reason}") from exc
