r"""Finds the `model` of a request's body in its bytes, and puts another name there.

Routes by model and model aliases need one value of a body that may have megabytes, on the loop that moves everybody's
bytes. So nothing is parsed: the top level of the object is walked, and what lies deeper is skipped by compiled
patterns that never step back. A body is fed block by block as it comes, so the cost of a large one is spread.

The answer has to be the one that the upstream's own parser would give, or none:

- Parsers disagree on a key that stands twice (the last one, the first one, an error) and some ignore the case of keys.
  So every spelling of the key counts (`MODEL`, `mod\u0065l`), and two different values are a fault, not a choice.
- Of equal values all are replaced.
- A body that is no JSON object, or breaks off, has no model: whoever reads it will refuse it.
"""

import json
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

MAX_NAME_BYTES = 1024
"""A longer `model` is nobody's; it matches no glob and no alias."""

_MAX_KEY_BYTES = 32  # two quotes and five times \u006d
_MAX_OCCURRENCES = 16
_SLICE_BYTES = 64 * 1024
_FREE_STEPS = 2000
_BYTES_PER_STEP = 64
"""A step in Python costs some 0.5 us; what the patterns skip in one go is not a step. Bodies of chats need a few dozen
steps; one that is nothing but nested brackets would need one for every byte, and is given up instead."""

_WHITE = rb"[ \t\r\n]*+"
_STRING = rb'"[^"]*+"'  # escaped quotes are masked before any pattern is applied
_LEVELS = 8


def _nested(levels: int) -> bytes:
    """Make a pattern of a whole array or object that holds others up to so many levels deep."""
    inner = _STRING if levels == 1 else _STRING + rb"|" + _nested(levels - 1)
    return rb'[\[{][^"{}\[\]]*+(?:(?:' + inner + rb')[^"{}\[\]]*+)*+[\]}]'


_KEY = b"(?i:" + b"".join(rb"(?:%c|\\u00%x|\\u00%x)" % (low, low, low - 32) for low in b"model") + b")"
_MODEL_KEY = re.compile(rb'"' + _KEY + rb'"')
_OTHER_MEMBERS = re.compile(
    rb"(?:" + _WHITE + rb'(?!"' + _KEY + rb'")' + _STRING + _WHITE + rb":" + _WHITE
    + rb"(?:" + _STRING + rb"|[-+.0-9A-Za-z]++|" + _nested(_LEVELS) + rb")" + _WHITE + rb",)*+"
)  # fmt: skip
_INSIDE = re.compile(rb'[^"{}\[\]]*+(?:(?:' + _STRING + rb"|" + _nested(_LEVELS) + rb')[^"{}\[\]]*+)*+')
_BLANK = re.compile(_WHITE)
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*+")
_OPENERS = re.compile(rb"[\[{ \t\r\n]++")
_CLOSERS = re.compile(rb"[\]} \t\r\n]++")
_LENIENT = json.JSONDecoder(strict=False)
_BOM = b"\xef\xbb\xbf"


class ModelFault(StrEnum):
    """Why a body's model cannot be told."""

    REPEATED = "repeated"
    TOO_FINE = "too_fine"


class Span(NamedTuple):
    """Where a value stands in a body, its quotes included; `end` is the offset behind it."""

    start: int
    end: int


class Model(NamedTuple):
    """What a body says its model is.

    Attributes:
        name: The name, unescaped; None when the body names none, or none that can be told.
        spans: Where it stands, each time; in order.
        fault: Why it cannot be told, None when it can, or when there is nothing to tell.
    """

    name: str | None
    spans: tuple[Span, ...]
    fault: ModelFault | None


_State = Callable[[bytes, int], int | None]


class ModelScanner:
    """Reads a body block by block; each block costs time linear in its length."""

    def __init__(self) -> None:
        self._state: _State = self._start
        self._after_string: _State = self._colon
        self._offset = 0  # of the data at hand in the body
        self._raw = b""
        self._masked_tail = b""
        self._is_escaped = False
        self._is_model = False
        self._depth = 0
        self._steps = 0
        self._names: set[str | None] = set()
        self._occurrences = 0
        self._spans: list[Span] = []
        self._fault: ModelFault | None = None

    def feed(self, block: bytes) -> None:
        """Read the next block, of any length."""
        if self._has_stopped or not block:
            return
        data = self._masked_tail + self._mask(block)
        self._raw += block
        position = 0
        allowed = _FREE_STEPS + (self._offset + len(data)) // _BYTES_PER_STEP
        while position < len(data) and not self._has_stopped:
            self._steps += 1
            if self._steps > allowed:
                self._fault = ModelFault.TOO_FINE
            reached = self._state(data, position)
            if reached is None:
                break
            position = reached
        self._masked_tail, self._raw = data[position:], self._raw[position:]
        self._offset += position

    def finish(self) -> Model:
        """Tell the model, now that the body is whole."""
        if self._fault is not None:
            return Model(None, (), self._fault)
        if self._state != self._done or self._names in (set(), {None}):
            return Model(None, (), None)
        return Model(self._names.copy().pop(), tuple(self._spans), None)

    @property
    def _has_stopped(self) -> bool:
        return self._fault is not None or self._state in (self._done, self._give_up)

    def _mask(self, block: bytes) -> bytes:
        """Return the block with escaped quotes and backslashes written over, so that each quote left is a border."""
        if self._is_escaped and block[:1] in (b'"', b"\\"):
            block = b"_" + block[1:]
        self._is_escaped = (len(block) - len(block.rstrip(b"\\"))) % 2 == 1
        if b"\\" not in block:
            return block
        return block.replace(b"\\\\", b"__").replace(b'\\"', b"__")

    # Each state takes the data and a position, and returns the position it reached, or None when it needs more data.

    def _start(self, data: bytes, position: int) -> int | None:
        if data.startswith(_BOM[: len(data)]) and len(data) < len(_BOM):
            return None
        self._state = self._object
        return len(_BOM) if data.startswith(_BOM) else position

    def _object(self, data: bytes, position: int) -> int:
        return self._expect(data, position, {b"{": self._member})

    def _member(self, data: bytes, position: int) -> int:
        position = _end(_BLANK, data, _end(_OTHER_MEMBERS, data, position))
        if data[position : position + 1] != b'"':
            return self._expect(data, position, {b"}": self._done})
        self._state = self._key
        return position

    def _key(self, data: bytes, position: int) -> int | None:
        closing = data.find(b'"', position + 1)
        if closing < 0 and len(data) - position < _MAX_KEY_BYTES:
            return None
        self._is_model = _MODEL_KEY.match(data, position) is not None
        if closing < 0:
            return self._enter_string(position, then=self._colon)
        self._state = self._colon
        return closing + 1

    def _colon(self, data: bytes, position: int) -> int:
        return self._expect(data, position, {b":": self._value})

    def _value(self, data: bytes, position: int) -> int:
        position = _end(_BLANK, data, position)
        mark = data[position : position + 1]
        if mark == b'"' and self._is_model:
            self._state = self._model_string
            return position
        if mark == b'"':
            return self._enter_string(position, then=self._comma)
        if mark and self._is_model:
            self._note(None)
        if mark in (b"[", b"{"):
            self._depth, self._state = 1, self._inside
            return position + 1
        if mark:
            self._state = self._scalar if _end(_SCALAR, data, position) > position else self._give_up
        return position

    def _model_string(self, data: bytes, position: int) -> int | None:
        closing = data.find(b'"', position + 1)
        if closing < 0 and len(data) - position <= MAX_NAME_BYTES:
            return None
        if closing < 0 or closing - position > MAX_NAME_BYTES:
            self._note(None)
            return self._enter_string(position, then=self._comma)
        raw = self._raw[position : closing + 1]
        self._note(_unescaped(raw))
        self._spans.append(Span(self._offset + position, self._offset + closing + 1))
        self._state = self._comma
        return closing + 1

    def _scalar(self, data: bytes, position: int) -> int:
        position = _end(_SCALAR, data, position)
        if position < len(data):
            self._state = self._comma
        return position

    def _inside(self, data: bytes, position: int) -> int:
        """Skip the rest of an array or object until its closing bracket."""
        position = _end(_INSIDE, data, position)
        mark = data[position : position + 1]
        if mark == b'"':
            return self._enter_string(position, then=self._inside)
        if mark in (b"[", b"{"):
            stop = _end(_OPENERS, data, position)
            self._depth += data.count(b"[", position, stop) + data.count(b"{", position, stop)
            return stop
        if not mark:
            return position
        stop = _end(_CLOSERS, data, position)
        closers = _closers(data, position, stop)
        if closers < self._depth:
            self._depth -= closers
            return stop
        self._state = self._comma
        return _position_of(data, position, stop, self._depth)

    def _comma(self, data: bytes, position: int) -> int:
        return self._expect(data, position, {b",": self._member, b"}": self._done})

    def _done(self, data: bytes, position: int) -> int:  # noqa: ARG002 - a state's signature
        return len(data)

    def _give_up(self, data: bytes, position: int) -> int:  # noqa: ARG002 - a state's signature
        return len(data)

    def _string(self, data: bytes, position: int) -> int:
        closing = data.find(b'"', position)
        if closing < 0:
            return len(data)
        self._state = self._after_string
        return closing + 1

    def _enter_string(self, position: int, then: _State) -> int:
        self._state, self._after_string = self._string, then
        return position + 1

    def _expect(self, data: bytes, position: int, states: dict[bytes, _State]) -> int:
        position = _end(_BLANK, data, position)
        if position == len(data):
            return position
        self._state = states.get(data[position : position + 1], self._give_up)
        return position + 1

    def _note(self, name: str | None) -> None:
        self._names.add(name)
        self._occurrences += 1
        if len(self._names) > 1 or self._occurrences > _MAX_OCCURRENCES:
            self._fault = ModelFault.REPEATED


def find_model(body: bytes) -> Model:
    """Tell the model of a whole body."""
    scanner = ModelScanner()
    for start in range(0, len(body), _SLICE_BYTES):
        scanner.feed(body[start : start + _SLICE_BYTES])
    return scanner.finish()


def splice(body: bytes, spans: Iterable[Span], name: str) -> bytes:
    """Return the body with the values at these spans replaced by a name; every other byte stays as it is.

    Args:
        body: The body.
        spans: In order, as `Model.spans` holds them.
        name: The new name; written as a JSON string.
    """
    value = json.dumps(name).encode()
    parts: list[bytes] = []
    reached = 0
    for span in spans:
        parts += [body[reached : span.start], value]
        reached = span.end
    return b"".join([*parts, body[reached:]])


def _unescaped(raw: bytes) -> str | None:
    try:
        value = _LENIENT.decode(raw.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _end(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    found = pattern.match(data, position)
    return position if found is None else found.end()


def _closers(data: bytes, start: int, stop: int) -> int:
    return data.count(b"]", start, stop) + data.count(b"}", start, stop)


def _position_of(data: bytes, start: int, stop: int, nth: int) -> int:
    """Return the position behind the n-th closing bracket of a run that holds as many."""
    low, high = start, stop
    while low < high:
        middle = (low + high) // 2
        if _closers(data, start, middle) >= nth:
            high = middle
        else:
            low = middle + 1
    return low
