"""What somebody looks for in texts, as an expression that the full-text index takes: never more than words and phrases.

Words are runs of letters and digits, without regard to case and accents. Scripts that are written without spaces
(Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) have no words that could be told by spaces: each of their
characters is indexed as a word, and a run of them is looked for as a phrase. So any part of a text in them is found.
"""

import re
import unicodedata
from typing import NamedTuple

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_PIECES = re.compile(r'"([^"]*+)("|\Z)|([^\s"]++)')
_MOST_WORDS = 32
_MOST_CHARACTERS = 1000


class SearchQueryError(ValueError):
    """There is nothing to look for, or too much; the message says which."""


class SearchOffError(Exception):
    """Texts are not indexed: the setting `search` is off."""


class SearchQuery(NamedTuple):
    """What is looked for.

    Attributes:
        expression: For FTS5's MATCH.
        words: The words and phrases, for showing where they are; the beginnings of words without their `*`.
    """

    expression: str
    words: tuple[str, ...]


def words_query(text: str) -> SearchQuery:
    """Look for messages that have all of these words; `"two words"` is a phrase, `refund*` the beginning of a word.

    Raises:
        SearchQueryError: There is no word, or there are too many.
    """
    parts: list[str] = []
    words: list[str] = []
    for phrase, _, word in _PIECES.findall(_checked(text)):
        piece = phrase or word
        if not _has_word(piece):
            continue
        is_beginning = bool(word) and word.endswith("*")
        parts.append(_quoted(piece) + ("*" if is_beginning else ""))
        words.append(piece.rstrip("*") if is_beginning else piece)
    if not parts:
        raise SearchQueryError("no word to look for; a word has letters or digits")
    if len(parts) > _MOST_WORDS:
        raise SearchQueryError(f"more than {_MOST_WORDS} words and phrases")
    return SearchQuery(" AND ".join(parts), tuple(words))


def phrase_query(text: str) -> SearchQuery:
    """Look for messages that have these words one after the other.

    Raises:
        SearchQueryError: There is no word, or there are too many.
    """
    if not _has_word(_checked(text)):
        raise SearchQueryError("no word to look for; a word has letters or digits")
    return SearchQuery(_quoted(text), (text,))


def spread(text: str) -> str:
    """Put spaces around each character of a script that is written without them."""
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def _checked(text: str) -> str:
    if len(text) > _MOST_CHARACTERS:
        raise SearchQueryError(f"more than {_MOST_CHARACTERS} characters")
    return text


def _quoted(text: str) -> str:
    """Write a phrase; everything but quotes stands for itself between them."""
    kept = "".join(" " if character in '"\0' or "\ud800" <= character <= "\udfff" else character for character in text)
    return f'"{spread(kept)}"'


def _has_word(text: str) -> bool:
    return any(unicodedata.category(character)[0] in "LN" for character in text)
