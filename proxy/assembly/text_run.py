"""Folding a stream before it is parsed: of a run of events that only carry on one text, one event is made.

Nearly all of a stream says the same over and over: a hundred chunks that differ in a few characters of text, each of
which has to be parsed and merged. Texts grow by concatenation, so one event with the characters of all of them comes to
the same, in a fraction of the time (`benchmarks/ingest.py`).

What is folded is proved, not guessed. Whether an event is of the kind is asked of its dialect, which is shown it twice
with other characters in the place of the text: so that place, and nothing else, is the text that grows. Events after it
belong to its run as long as they are the same bytes around characters that stand for themselves inside a JSON string.
Whatever is not like that stays as it came: another event, a line end that is not a line feed, a torn end, an escape
that is half a character, bytes that are no UTF-8.
"""

import re
from collections.abc import Callable
from itertools import accumulate, islice
from typing import Any, NamedTuple, Self

import orjson

CarriedText = Callable[[dict[str, Any]], str | None]
"""Gives the text by which an event makes an answer grow, if taking that event twice would change nothing else."""

_DATA = re.compile(rb"(?:event: (?!error\n)[a-z_]+\n)?data: ?(?=\{)")
_TEXT = re.compile(rb'"(?:content|text|arguments|reasoning_content|reasoning|thinking|partial_json)": ?"')
_CHARACTERS = re.compile(
    rb'[^"\\\x00-\x1f]*+'
    rb'(?:\\(?:["\\/bfnrt]|u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD](?:[0-7][0-9a-fA-F]{2}|'
    rb'[89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})))[^"\\\x00-\x1f]*+)*+'
)
"""Characters inside a JSON string that mean the same whatever stands next to them: half a surrogate pair does not."""
_PADDING = b'"obfuscation":"'
_PADDING_END = b'"}'
"""The last member of OpenAI's chunks: random letters, so that a chunk's length does not tell how long its text is. The
event ends right behind it, so it is a member of the chunk itself, where nobody reads it."""


class _Frame(NamedTuple):
    """The bytes that the events of a run share.

    Attributes:
        before: From the beginning of the event to the text.
        after: From the text to the end of the event, or to the letters of the padding.
        is_padded: Whether there is padding.
        start: Where the JSON begins in `before`.
    """

    before: bytes
    after: bytes
    is_padded: bool
    start: int

    @classmethod
    def of(cls, event: bytes, following: bytes) -> Self | None:
        """Give the frame of an event; None when it has none, or the one after it another one."""
        data = _DATA.match(event)
        text = _TEXT.search(event, data.end()) if data else None
        if data is None or text is None or not following.startswith(before := event[: text.end()]):
            return None
        characters = _CHARACTERS.match(event, text.end())
        after, padding, _ = event[characters.end() if characters else 0 :].partition(_PADDING)
        return None if b"\n" in after else cls(before, after + padding, bool(padding), data.end())

    def texts_of(self, events: list[bytes], place: int) -> list[bytes]:
        """Give what stands in the place of the text in the events from a place on, up to the first of another frame."""
        before, after, is_padded, _ = self
        start = len(before)
        texts: list[bytes] = []
        for number in range(place, len(events)):
            event = events[number]
            text, found, padding = event[start:].partition(after)
            if not found or not event.startswith(before):
                break
            if padding if not is_padded else not _is_padding(padding):
                break
            texts.append(text)
        return texts

    def is_carrying(self, carried_text: CarriedText) -> bool:
        """Tell by two trials whether the place of the text is that of a text which grows, and nothing else would."""
        for text in ("", "x"):
            written = self.before[self.start :] + text.encode() + self.after
            try:
                event = orjson.loads(written + _PADDING_END if self.is_padded else written)
            except orjson.JSONDecodeError:
                return False
            if carried_text(event) != text:
                return False
        return True


def fold_runs(body: bytes, carried_text: CarriedText) -> bytes:
    """Give a stream of fewer events out of which the same answer is put together.

    Args:
        body: The whole stream, or as much of it as came.
        carried_text: Of the dialect that the stream speaks.
    """
    text = body.replace(b"\r\n", b"\n") if b"\r" in body else body
    if b"\r" in text or not _is_utf8(text):
        return body
    *events, rest = text.split(b"\n\n")
    folded: list[bytes] = []
    refused: bytes | None = None
    place = 0
    while place + 1 < len(events):
        event = events[place]
        frame = _Frame.of(event, events[place + 1]) if refused is None or not event.startswith(refused) else None
        texts: list[bytes] = []
        if frame is not None:
            found = frame.texts_of(events, place) if frame.is_carrying(carried_text) else []
            texts = _sound(found)
            # Looking at the same events again and again would cost the square of their number.
            refused = frame.before if not found or len(texts) < len(found) else refused
            if len(texts) > 1:
                event = frame.before + b"".join(texts) + event[len(frame.before) + len(texts[0]) :]
        folded.append(event)
        place += len(texts) or 1
    return b"\n\n".join([*folded, *events[place:], rest])


def _sound(texts: list[bytes]) -> list[bytes]:
    """Give the first texts, as many of them as are sound characters each by itself."""
    # The space between them makes no half of an escape, or of a surrogate pair, whole.
    spaced = b" ".join(texts)
    characters = _CHARACTERS.match(spaced)
    end = characters.end() if characters else 0
    if end == len(spaced):
        return texts
    ends = accumulate(texts, lambda end, text: end + len(text) + 1, initial=-1)
    return texts[: sum(text_end <= end for text_end in islice(ends, 1, None))]


def _is_padding(text: bytes) -> bool:
    letters = text.removesuffix(_PADDING_END)
    return len(letters) < len(text) and (letters.isalnum() or not letters)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
