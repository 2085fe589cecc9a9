"""Traces as bytes and back, lossless: how traces that were recorded elsewhere travel through the journal.

A batch is one byte of version, then each trace as its size (4 bytes) and its *fields*: a flat list of values, each as
its size (4 bytes, all ones for None) and its bytes. All integers are big-endian. First come as many values as there
are fields of `store.trace.Trace`, in the order of `_CODES`, with a count in place of a list; then what the lists hold.
Text is UTF-8 with lone surrogates in the generalised form, so any text that Python can hold comes back the same.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from store.trace import Flag, Outcome, Reply, Trace
from store.trace_rows import from_micros, some_text, to_blob, to_micros

_VERSION: Final = 1
_NONE: Final = 0xFFFFFFFF
_SIZE = struct.Struct(">I")
_FLOAT = struct.Struct(">d")


class TraceCodeError(ValueError):
    """The bytes are no batch of traces, or one of a later version."""


def encode_traces(traces: Iterable[Trace]) -> bytes:
    """Write traces one behind the other.

    Raises:
        ValueError: A trace's time has no zone, or a value has 4 GiB or more.
    """
    pieces = [bytes((_VERSION,))]
    for trace in traces:
        body = _pack(_values(trace))
        pieces += (_SIZE.pack(len(body)), body)
    return b"".join(pieces)


def decode_traces(data: bytes) -> list[Trace]:
    """Read what `encode_traces` wrote.

    Raises:
        TraceCodeError: The bytes are nothing that it wrote.
    """
    if data[:1] != bytes((_VERSION,)):
        raise TraceCodeError("the bytes are no batch of traces of this version")
    try:
        return [_trace(list(_unpack(body))) for body in _bodies(data)]
    except (struct.error, ValueError, IndexError, StopIteration, OverflowError) as exc:
        raise TraceCodeError(f"the bytes are no batch of traces: {type(exc).__name__}") from exc


class _Code(NamedTuple):
    """How a field that is not None becomes bytes, and how it comes back."""

    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


def _write_integer(number: int) -> bytes:
    return b"%d" % number


def _as_is(value: bytes) -> bytes:
    return value


_TEXT = _Code(lambda text: text.encode("utf-8", "surrogatepass"), some_text)
_INTEGER = _Code(_write_integer, int)
_NUMBER = _Code(_FLOAT.pack, lambda data: _FLOAT.unpack(data)[0])
_JSON = _Code(_as_is, _as_is)
_COUNT = _Code(lambda items: _write_integer(len(items)), int)
_CODES: Final = {
    "id": _Code(lambda id_: id_.bytes, lambda data: UUID(bytes=data)),
    "created_at": _Code(lambda moment: _write_integer(to_micros(moment)), lambda data: from_micros(int(data))),
    "method": _TEXT,
    "path": _TEXT,
    "route": _TEXT,
    "upstream": _TEXT,
    "outcome": _Code(lambda outcome: outcome.value.encode(), lambda data: Outcome(data.decode())),
    "endpoint": _TEXT,
    "status": _INTEGER,
    "is_streaming": _Code(lambda truth: b"1" if truth else b"0", lambda data: data == b"1"),
    "requested_model": _TEXT,
    "served_model": _TEXT,
    "tools": _JSON,
    "response_format": _JSON,
    "parameters": _JSON,
    "usage": _JSON,
    "prompt_tokens": _INTEGER,
    "completion_tokens": _INTEGER,
    "ttft_ms": _NUMBER,
    "duration_ms": _NUMBER,
    "upstream_id": _TEXT,
    "request_id": _TEXT,
    "system_fingerprint": _TEXT,
    "session": _TEXT,
    "user": _TEXT,
    "metadata": _JSON,
    "key_fingerprint": _TEXT,
    "error": _TEXT,
    "flags": _Code(
        lambda flags: ",".join(sorted(flags)).encode(),
        lambda data: frozenset(Flag(name) for name in data.decode().split(",") if name),
    ),
    "request_bytes": _INTEGER,
    "response_bytes": _INTEGER,
    "messages": _COUNT,
    "replies": _COUNT,
    "tags": _COUNT,
}
_WRITERS = tuple(code.write for code in _CODES.values())
_READERS = tuple(code.read for code in _CODES.values())
_VALUES: Callable[[Trace], tuple[Any, ...]] = attrgetter(*_CODES)
_LISTS: Final = ("messages", "replies", "tags")


def _values(trace: Trace) -> list[bytes | None]:
    values = [None if value is None else write(value) for write, value in zip(_WRITERS, _VALUES(trace), strict=True)]
    values += trace.messages
    for reply in trace.replies:
        values += (_write_integer(reply.index), reply.message, to_blob(reply.finish_reason), reply.logprobs)
    for name, value in trace.tags.items():
        values += (to_blob(name), to_blob(value))
    return values


def _trace(values: Sequence[bytes | None]) -> Trace:
    fields: dict[str, Any] = {
        name: None if value is None else read(value)
        for name, read, value in zip(_CODES, _READERS, values, strict=False)
    }
    messages, replies, tags = (fields.pop(name) for name in _LISTS)
    rest = iter(values[len(_CODES) :])
    trace = Trace(
        **fields,
        messages=tuple([_some(rest) for _ in range(messages)]),
        replies=tuple([_reply(rest) for _ in range(replies)]),
        tags={some_text(_some(rest)): some_text(_some(rest)) for _ in range(tags)},
    )
    if next(rest, b"") != b"":
        raise TraceCodeError("a trace has more values than it tells")
    return trace


def _reply(rest: Iterator[bytes | None]) -> Reply:
    index, message = int(_some(rest)), _some(rest)
    finish_reason, logprobs = next(rest), next(rest)
    return Reply(index, message, None if finish_reason is None else some_text(finish_reason), logprobs)


def _some(rest: Iterator[bytes | None]) -> bytes:
    value = next(rest)
    if value is None:
        raise TraceCodeError("a value is missing")
    return value


def _pack(values: Iterable[bytes | None]) -> bytes:
    pieces: list[bytes] = []
    for value in values:
        if value is None:
            pieces.append(b"\xff\xff\xff\xff")
        else:
            if len(value) >= _NONE:
                raise ValueError("a value of 4 GiB or more cannot be written")
            pieces += (_SIZE.pack(len(value)), value)
    return b"".join(pieces)


def _unpack(body: bytes) -> Iterator[bytes | None]:
    position = 0
    while position < len(body):
        (size,) = _SIZE.unpack_from(body, position)
        position += _SIZE.size
        if size == _NONE:
            yield None
            continue
        if position + size > len(body):
            raise TraceCodeError("a value is cut short")
        yield body[position : position + size]
        position += size


def _bodies(data: bytes) -> Iterator[bytes]:
    position = 1
    while position < len(data):
        (size,) = _SIZE.unpack_from(data, position)
        position += _SIZE.size
        if position + size > len(data):
            raise TraceCodeError("a trace is cut short")
        yield data[position : position + size]
        position += size
