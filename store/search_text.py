"""The text of a message, as the full-text index takes it, and a short stretch of it for showing a match."""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from store.filter_labels import value_of
from store.json_text import JsonValue
from store.search_query import spread

MOST_CHARACTERS = 500_000
"""Of one message; what comes behind is not indexed. A book of 250 pages."""

_SNIPPET_CHARACTERS = 160
_BEFORE = 50
# No word of any language: base64, keys, minified code. It would only make the index large.
_NO_WORD = re.compile(r"[A-Za-z0-9+/=_-]{200,}+")
# With every letter of such a run as an "x" and all else as a space, to see that there is none is a tenth of the work.
_LETTERS = bytes(ord("x" if re.fullmatch(r"[A-Za-z0-9+/=_-]", chr(byte)) else " ") for byte in range(256))
_NO_WORD_LETTERS = b"x" * 200
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal", "thinking", "reasoning_text", "summary_text")
_SPACE = re.compile(r"\s+")


def message_text(message: bytes) -> str:
    """Give all that was said in a message: its texts, what it calls tools with, and what tools gave back.

    Files, images and sound are left out, as are runs of 200 letters and more.
    """
    parts: list[str] = []
    size = 0
    for text in _texts(value_of(message)):
        parts.append(text[: MOST_CHARACTERS - size])
        size += len(text)
        if size >= MOST_CHARACTERS:
            break
    text = "\n".join(parts)
    letters = text.encode("utf-8", "surrogatepass").translate(_LETTERS)
    return _NO_WORD.sub(" ", text) if _NO_WORD_LETTERS in letters else text


def indexed_text(message: bytes) -> str:
    """Give the text as the index takes it."""
    text = spread(message_text(message))
    if text.isascii():
        return text.replace("\0", " ")
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def _texts(message: JsonValue) -> Iterator[str]:
    if not isinstance(message, dict):
        return
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        yield from _content(message.get(name))
    calls = message.get("tool_calls")
    for call in [*(calls if isinstance(calls, list) else ()), {"function": message.get("function_call")}]:
        if isinstance(call, dict):
            for part in (call.get("function"), call.get("custom")):
                yield from _called(part)


def _content(content: JsonValue) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield part
            elif isinstance(part, dict):
                for name in ("text", "refusal", "thinking", "content"):
                    if part.get("type") in (*_TEXT_PARTS, "tool_result"):
                        yield from _content(part.get(name))


def _called(part: JsonValue) -> Iterator[str]:
    if not isinstance(part, dict):
        return
    if isinstance(name := part.get("name"), str):
        yield name
    for given in (part.get("arguments"), part.get("input")):
        if isinstance(given, str):
            # In JSON a line end is a backslash and an n, which would become a part of the next word.
            try:
                yield from _strings(json.loads(given))
            except (ValueError, RecursionError):
                yield given
        elif given is not None:
            yield from _strings(given)


def _strings(value: JsonValue) -> Iterator[str]:
    todo: list[Any] = [value]
    while todo:
        found = todo.pop()
        if isinstance(found, dict):
            for name, inner in reversed(found.items()):
                todo += (inner, name)
        elif isinstance(found, list):
            todo += reversed(found)
        elif found is not None:
            yield found if isinstance(found, str) else str(found)


def snippet(text: str, words: Sequence[str]) -> str:
    """Give a short stretch of a text around the first of these words, on one line; else its beginning."""
    plain = _plain(text)
    places = [place for word in words if (place := _find(plain, word)) >= 0]
    start = max(0, min(places, default=0) - _BEFORE)
    if start:
        # Begin with a whole word, if one begins soon.
        start = text.find(" ", start, start + _BEFORE // 2) + 1 or start
    shown = _SPACE.sub(" ", text[start : start + _SNIPPET_CHARACTERS]).strip()
    return ("… " if start else "") + shown + (" …" if start + _SNIPPET_CHARACTERS < len(text) else "")


def _find(plain: str, word: str) -> int:
    wanted = [re.escape(piece) for piece in re.findall(r"\w+", _plain(word))]
    if not wanted:
        return -1
    found = re.search(r"\b" + r"\W+".join(wanted), plain) or re.search(r"\W*".join(wanted), plain)
    return found.start() if found else -1


def _plain(text: str) -> str:
    """Give small letters without accents, each in the place of its own."""
    if text.isascii():
        return text.lower()
    return "".join(map(_plain_letter, text))


def _plain_letter(letter: str) -> str:
    return letter.lower() if letter.isascii() else unicodedata.normalize("NFD", letter)[0].lower()[:1] or letter
