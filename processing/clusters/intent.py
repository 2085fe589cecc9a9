"""What the user of a call wants, as a short text: what calls are grouped by.

- The *first* turn tells it: later ones ("yes", "and in French?") mean nothing by themselves, and all calls of one
  conversation belong together. Where the first turn has hardly a word (a greeting), the second is added.
- What the application itself says before every call is left out: its examples by their place in the message tree
  (`store.clusters.opening`), its system prompt altogether. All calls of an application share it, so it tells no two of
  them apart, and a prompt that is tried in two wordings would tear every task in two. Applications are counted for each
  cluster instead, by the beginnings of their system prompts with digits struck out: where several are asked the same in
  the same words, making one dataset of that is warned of.
- A template around the user's words is kept: it is what tells the task ("Classify this ticket: …").
- Long texts are cut to their beginning and end, where instructions stand; what is pasted between is of any topic.
"""

import re
from collections.abc import Sequence

from store import json_text
from store.recorded.message import Json
from store.trace import JsonText

HEAD_CHARS = 600
TAIL_CHARS = 300
_LEAST_WORDS = 3
_INSTRUCTION_CHARS = 200
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"\w+")
_TEXT_PARTS = frozenset({"text", "input_text"})


def read_message(message: JsonText) -> str:
    """Give the words of a message, cut, on one line; what is no text is left out."""
    try:
        value = json_text.loads(message)
    except ValueError:
        return ""
    content = value.get("content") if isinstance(value, dict) else None
    return cut(" ".join(_words(content)))


def intent_of(turns: Sequence[str]) -> str:
    """Say what a call is grouped by; empty when its user says nothing.

    Args:
        turns: The user's words in the first turn, and in the second where there is one, as `read_message` gives them.
    """
    said = turns[:1]
    if turns and len(_WORD.findall(turns[0])) < _LEAST_WORDS:
        said = turns
    return cut(" ".join(part for part in said if part))


def application_of(instructions: str) -> str:
    """Say which application a call is of; empty for calls without a system prompt.

    Args:
        instructions: The system prompt, as `read_message` gives it.
    """
    return _DIGITS.sub("0", instructions[:_INSTRUCTION_CHARS].lower())


def cut(text: str) -> str:
    """Make one line of a text, with the middle left out when it is long; no lone surrogate is left."""
    if len(text) > 4 * (HEAD_CHARS + TAIL_CHARS):
        text = f"{text[: 2 * HEAD_CHARS]} … {text[-2 * TAIL_CHARS :]}"
    line = _BLANK.sub(" ", text).strip().encode("utf-8", "replace").decode()
    return line if len(line) <= HEAD_CHARS + TAIL_CHARS else f"{line[:HEAD_CHARS]} … {line[-TAIL_CHARS:]}"


def _words(content: Json) -> list[str]:
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in _TEXT_PARTS]
    return [part["text"] for part in parts if isinstance(part.get("text"), str)]
