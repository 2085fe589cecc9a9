"""Labels: what a trace can be found by besides its columns, in the order of time.

Tags, metadata, tools called, finish reasons, flags, keys, and statuses that are errors. One narrow table holds them, as
hashes and without any text, and it only proposes: whether a trace has what is asked for is always read from the trace
itself. So a collision, or a number that stands for another trace after an erasing, costs a look and nothing else. Where
a trace has more labels than are kept, it has the label MORE, which every search by label looks at, too. Traces of an
older database have the label LATER, with the same effect, until a chore has made theirs.
"""

import math
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from store.body import unpack
from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.follower import StoredTrace
from store.id_list import number_list
from store.json_text import INEXACT, JsonTextError, JsonValue, exact_value, loads
from store.trace_rows import to_blob, to_micros

MOST_LABELS = 100
_PLAIN_REASON = b"stop"
"""Nearly every trace has it: to go by time finds as many, and its labels would double the table."""

ERROR_STATUS = 400
"""Only statuses from here on are labels."""

_INSERT = "INSERT OR IGNORE INTO trace_labels (label, created_at, trace) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM trace_labels WHERE label = ? AND created_at = ? AND trace = ?"
_ROWS = """
    SELECT t.number, t.created_at, t.status, t.flags, t.key_fingerprint, t.has_tool_calls,
           (SELECT b.body FROM blobs b WHERE b.number = t.metadata_blob)
    FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value
"""
_WAITING = "SELECT created_at, trace FROM trace_labels WHERE label = :later LIMIT :count"
_TRACES_A_STEP = 300
_TAGS = "SELECT g.trace, g.name, g.value FROM json_each(:numbers) w CROSS JOIN tags g ON g.trace = w.value"
_REPLIES = """
    SELECT r.trace, r.finish_reason, n.body
    FROM json_each(:numbers) w CROSS JOIN replies r ON r.trace = w.value CROSS JOIN nodes n ON n.number = r.node
"""

_NUMBER = re.compile(r"-?[0-9][0-9.eE+-]{0,99}")

Scalar = bytes | int | float | bool
"""A value of metadata; text as UTF-8."""


# Typed, since 1 and true are the same key otherwise.
@lru_cache(maxsize=4096, typed=True)
def label(kind: bytes, name: bytes, value: Scalar) -> int:
    """Hash what a trace may be found by to 64 bits."""
    written = b"s" + value if isinstance(value, bytes) else _written(value)
    text = b"%d\n%s%d\n%s%s" % (len(kind), kind, len(name), name, written)
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def _written(value: float) -> bytes:
    """Write a number or truth so that equal ones are written alike: 5, 5.0 and 5e0 are."""
    if isinstance(value, bool):
        return b"b%d" % value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return b"n" + repr(value).encode()


MORE = label(b"", b"more", b"")
LATER = label(b"", b"later", b"")
"""Of a trace whose labels are still to be made."""


def is_kept(kind: bytes, value: Scalar) -> bool:
    """Tell whether traces of this value have a label for it."""
    if kind == b"status":
        return isinstance(value, int) and value >= ERROR_STATUS
    return (kind, value) != (b"finish_reason", _PLAIN_REASON)


def scalars(value: JsonValue, path: str = "") -> Iterator[tuple[str, Scalar]]:
    """Give the texts, numbers and truths inside a JSON value, each with its path."""
    todo: list[tuple[str, Any]] = [(path, value)]
    while todo:
        here, found = todo.pop()
        if isinstance(found, dict):
            todo += [(f"{here}.{name}" if here else name, inner) for name, inner in found.items()]
        elif isinstance(found, list):
            todo += [(f"{here}.{place}" if here else str(place), inner) for place, inner in enumerate(found)]
        elif isinstance(found, str):
            yield here, found.encode("utf-8", "surrogatepass")
        elif found is not None and not (isinstance(found, float) and not math.isfinite(found)):
            yield here, found


def bare_scalars(word: str) -> list[Scalar]:
    """Give what a word without quotes may be besides a text: a number or a truth, as JSON writes them."""
    if word in ("true", "false"):
        return [word == "true"]
    value = value_of(word.encode("utf-8", "replace")) if _NUMBER.fullmatch(word) else None
    return [value] if type(value) is int or (type(value) is float and math.isfinite(value)) else []


def called_names(message: object) -> Iterator[str]:
    """Give the names of the tools that a reply calls."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    found: list[Any] = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if isinstance(message, dict) and isinstance(legacy := message.get("function_call"), dict):
        found.append(legacy)
    for call in found:
        for part in (call.get("function"), call.get("custom"), call):
            if isinstance(part, dict) and isinstance(name := part.get("name"), str):
                yield name
                break


class LabelFollower:
    """Keeps `trace_labels`."""

    def add(self, db: sqlite3.Connection, traces: Sequence[StoredTrace]) -> None:
        """Write the labels of a batch."""
        rows: list[tuple[int, int, int]] = []
        for number, trace, _, answers in traces:
            found: list[int] = []
            if trace.flags:
                found += [label(b"flag", b"", flag.encode()) for flag in trace.flags]
            if trace.status is not None and trace.status >= ERROR_STATUS:
                found += _status_labels(trace.status)
            if trace.key_fingerprint is not None:
                found.append(label(b"key", b"", _text(trace.key_fingerprint)))
            for reply, answer in zip(trace.replies, answers, strict=True):
                if reply.finish_reason is not None and reply.finish_reason != "stop":
                    found.append(label(b"finish_reason", b"", _text(reply.finish_reason)))
                if answer.has_tool_calls:
                    found += _tool_labels(reply.message)
            if trace.tags:
                found += [label(b"tag", _text(name), _text(value)) for name, value in trace.tags.items()]
            if trace.metadata is not None:
                found += _metadata_labels(trace.metadata)
            if found:
                created_at = to_micros(trace.created_at)
                rows += [(each, created_at, number) for each in _bounded(found)]
        # In the order of the table, so that each of its pages is found once.
        rows.sort()
        db.executemany(_INSERT, rows)

    def remove(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Delete the labels of traces whose rows are still there."""
        rows = _label_rows(db, numbers)
        rows += [(each, created_at, number) for _, created_at, number in rows for each in (MORE, LATER)]
        db.executemany(_DELETE, rows)

    def remove_content(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Delete the labels of traces that lose what they say; a chore makes those that are left anew."""
        rows = _label_rows(db, numbers)
        db.executemany(_DELETE, rows)
        moments = {(created_at, number) for _, created_at, number in rows}
        db.executemany(_INSERT, [(LATER, created_at, number) for created_at, number in sorted(moments)])

    def forget(self) -> None:
        """Remember nothing anyway."""


class LabelChore:
    """Gives labels to the traces of a database that had none yet."""

    name = "labels"

    def step(self, db: sqlite3.Connection) -> Step:
        """Label some traces."""
        waiting = db.execute(_WAITING, {"later": LATER, "count": _TRACES_A_STEP}).fetchall()
        if not waiting:
            return NOTHING_TO_DO
        with transaction_now(db):
            db.executemany(_INSERT, sorted(_label_rows(db, [number for _, number in waiting])))
            db.executemany(_DELETE, [(LATER, created_at, number) for created_at, number in waiting])
        return Step(has_more=True)


def _label_rows(db: sqlite3.Connection, numbers: Sequence[int]) -> list[tuple[int, int, int]]:
    """Give the labels of stored traces, as rows of the table."""
    wanted = number_list(numbers)
    found: dict[int, list[int]] = {}
    moments: dict[int, int] = {}
    calling = set()
    for number, created_at, status, flags, key, has_tool_calls, metadata in db.execute(_ROWS, wanted).fetchall():
        moments[number] = created_at
        found[number] = [label(b"flag", b"", flag.encode()) for flag in flags.split(",") if flag]
        if status is not None and status >= ERROR_STATUS:
            found[number] += _status_labels(status)
        if key is not None:
            found[number].append(label(b"key", b"", key))
        if has_tool_calls:
            calling.add(number)
        if metadata is not None:
            found[number] += _metadata_labels(unpack(metadata))
    for number, name, value in db.execute(_TAGS, wanted).fetchall():
        found[number].append(label(b"tag", name, value))
    for number, reason, body in db.execute(_REPLIES, wanted).fetchall():
        if reason is not None and is_kept(b"finish_reason", reason):
            found[number].append(label(b"finish_reason", b"", reason))
        if number in calling:
            found[number] += _tool_labels(unpack(body))
    return [(each, moments[number], number) for number, labels in found.items() for each in _bounded(labels)]


def _text(text: str) -> bytes:
    return to_blob(text) or b""


def _bounded(found: list[int]) -> Iterable[int]:
    unique = dict.fromkeys(found)
    return unique if len(unique) <= MOST_LABELS else [*list(unique)[:MOST_LABELS], MORE]


def _status_labels(status: int) -> tuple[int, int]:
    """Label a status itself, and that it is an error at all."""
    return label(b"status", b"", status), label(b"error", b"", b"")


def _tool_labels(message: bytes) -> list[int]:
    return [label(b"tool", b"", _text(name)) for name in set(called_names(value_of(message)))]


def _metadata_labels(metadata: bytes) -> list[int]:
    found: list[int] = []
    for path, value in scalars(value_of(metadata)):
        found.append(label(b"metadata", _text(path), value))
        if len(found) > MOST_LABELS:
            break
    return found


def value_of(text: bytes) -> JsonValue:
    """Give the value of a stored JSON text, exactly; None for one nested too deep."""
    value = exact_value(text)
    if value is not INEXACT:
        return value
    try:
        return loads(text)
    except JsonTextError:
        return None
