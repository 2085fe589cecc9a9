"""The records of a file of JSON: an object on each line, or one array of objects.

Lines end as `file_blocks` says, so U+2028 is data. Numbers keep all their digits; NaN and Infinity, which JSON does not
have, are refused.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from processing.datasets.file_blocks import beginning_of, text_blocks
from processing.datasets.record import Record, RecordFault, failed, failed_line
from store import json_text
from store.recorded.errors import LineError
from store.recorded.file_lines import MAX_LINE_BYTES, file_lines
from store.recorded.message import Json

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def json_records(path: Path, name: str) -> Iterator[Record]:
    """Read a file from its beginning; blank lines are passed over.

    Args:
        path: Where it lies; it may be packed with gzip or zstd.
        name: What to call it.

    Raises:
        InputError: It is UTF-16 or UTF-32 without a byte order mark.
    """
    if _begins_array(path, name):
        yield from _array_records(path, name)
        return
    for line in file_lines(text_blocks(path, name)):
        if line.fault is not None:
            yield failed_line(name, line.number, line.fault)
        elif line.text.strip():
            yield _object(name, line.number, line.text)


def _object(name: str, number: int, text: bytes) -> Record:
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        return failed(name, number, RecordFault.NOT_UTF8, f"byte {exc.start} is not UTF-8")
    try:
        value = json_text.loads(text)
    except json_text.JsonTextError as exc:
        return failed(name, number, RecordFault.NOT_JSON, _why_not_json(text, exc))
    if not isinstance(value, dict):
        return failed(name, number, RecordFault.NOT_OBJECT, "it is JSON, but not an object")
    if json_text.is_too_deep(value):
        return failed(name, number, RecordFault.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}")
    return Record(name, number, value, repeated_key=_repeated_key(text))


def _repeated_key(text: bytes) -> str | None:
    """Give a key that stands twice in an object of a text that is JSON; None where none does."""
    # Such a text is never written back as it was.
    if json_text.exact_value(text) is not json_text.INEXACT:
        return None
    repeated: list[str] = []

    def look(pairs: list[tuple[str, Json]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            repeated.append(next(name for name in names if names.count(name) > 1))

    json.loads(text, object_pairs_hook=look)
    return repeated[0] if repeated else None


def _array_records(path: Path, name: str) -> Iterator[Record]:
    """Read one array of objects; what cannot be parsed ends it, since no line end helps on."""
    number = 0
    try:
        for text in _elements(_decoded(text_blocks(path, name))):
            if text is None:
                yield failed(name, number + 1, RecordFault.BROKEN_FILE, "from here on the file is not one JSON array")
                return
            number += 1
            yield _object(name, number, text.encode("utf-8", "surrogatepass"))
    except LineError as exc:
        yield failed_line(name, number + 1, exc)
    except UnicodeDecodeError:
        yield failed(name, number + 1, RecordFault.NOT_UTF8, "from here on the file is not UTF-8")


def _elements(pieces: Iterator[str]) -> Iterator[str | None]:
    """Cut an array into the texts of its elements; None where one is broken or more follows the array, and no more."""
    decoder = json.JSONDecoder()
    text = next(pieces, "").lstrip("\ufeff \t\r\n")[1:]
    is_over = False
    while True:
        text = text.lstrip(" \t\r\n,")
        if text.startswith("]"):
            if text[1:].strip() or any(piece.strip() for piece in pieces):
                yield None
            return
        try:
            _, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            end = 0
        # A number may go on in the next piece, so an element at the very end is not sure to be whole.
        if end and (is_over or end < len(text)):
            yield text[:end]
            text = text[end:]
        elif is_over or len(text) > MAX_LINE_BYTES:
            yield None
            return
        else:
            piece = next(pieces, "")
            is_over = not piece
            text += piece


def _decoded(blocks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for block in blocks:
        if text := decoder.decode(block):
            yield text
    decoder.decode(b"", final=True)


def _begins_array(path: Path, name: str) -> bool:
    """Whether the file is one array of objects; lines that are arrays by themselves are told from it."""
    start = beginning_of(path, name).removeprefix(_BYTE_ORDER_MARK).lstrip()
    return start.startswith(b"[") and start[1:].lstrip().startswith((b"{", b"]"))


def _why_not_json(text: bytes, error: json_text.JsonTextError) -> str:
    constants: list[str] = []
    try:
        json.loads(text, parse_constant=constants.append)
    except (ValueError, RecursionError):
        return f"not one JSON value: {error}"
    return f"holds {constants[0]}, which JSON does not have; write null" if constants else str(error)
