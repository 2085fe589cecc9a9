"""The look before the search: which categories can occur in some bytes at all.

Nearly all calls hold nothing to redact, so what they cost is what redaction costs. A few searches for fixed bytes and
two translations over a whole trace are some ten times cheaper than one regular expression over it. What is told
likely and is not there costs time; nothing that is there may be told unlikely.
"""

import re
from collections.abc import Collection

from proxy.redaction.category import PERSONAL, Category
from proxy.redaction.secret_shapes import ASSIGNED_WORDS, SECRET_SHAPES

_ESCAPED_ASCII = re.compile(rb"\\u00(?:[2-7][0-9A-Fa-f]|[aA]0)")
"""Characters that JSON need not escape; whoever does may hide a secret from a search over the text as it stands."""


def _table(changed: bytes, to: bytes) -> bytes:
    return bytes(to[0] if byte in changed else byte for byte in range(256))


_DIGITS = b"0123456789"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS_TO_0 = _table(_DIGITS, b"0")
_HEX_TO_0 = _table(b"0123456789abcdefABCDEF", b"0")
_LETTERS_TO_A = bytes(
    ord("0") if byte in _DIGITS else ord("a") if byte in _LETTERS else ord(" ") for byte in range(256)
)
_KEY_CHARACTERS = _DIGITS + _LETTERS + b"_-+/=.~\\"
_KEY_TO_A = bytes(ord("a") if byte in _KEY_CHARACTERS else ord(" ") for byte in range(256))
_NO_KEY_TO_SPACE = bytes(byte if byte in _KEY_CHARACTERS else ord(" ") for byte in range(256))
_TO_LOWER = bytes(range(256)).lower().replace(b"=", b":")
_BETWEEN_DIGITS = b" -.()/\xc2\xa0"
_BETWEEN_NAME_AND_VALUE = b" \t\"'`\\"
_NO_KEYS = frozenset(
    {
        b"/v1/chat/completions", b"accepted_prediction_tokens", b"additionalProperties", b"completion_tokens",
        b"completion_tokens_details", b"frequency_penalty", b"input_tokens_details", b"max_completion_tokens",
        b"output_tokens_details", b"parallel_tool_calls", b"presence_penalty", b"prompt_tokens_details",
        b"reasoning_content", b"reasoning_tokens", b"rejected_prediction_tokens",
    }
)  # fmt: skip
"""Words of the wire that are as long as keys and stand in nearly every call."""
_RUNS = {Category.CARD: 13, Category.US_SSN: 9, Category.PHONE: 10, Category.IBAN: 6}
"""The fewest digits in a row that a value of these has, without what may stand between them."""
_SHORTEST_RUN = b"a" * 15
"""As many characters of keys stand in a row in every key that has a beginning of its own."""
_LITERALS: dict[Category, frozenset[bytes]] = {
    category: frozenset(shape.hint.encode() for shape in SECRET_SHAPES if shape.category is category)
    for category in {shape.category for shape in SECRET_SHAPES}
}
_ASSIGNMENTS = tuple(word.encode() + b":" for word in ASSIGNED_WORDS)
_NONE: frozenset[Category] = frozenset()


class Likely:
    """Tells for some categories which of them bytes can hold."""

    def __init__(self, categories: Collection[Category]) -> None:
        self._all = frozenset(categories)
        self._literals = [(hint, category) for category in self._all for hint in _LITERALS.get(category, ())]
        self._runs = [(category, b"0" * run) for category, run in _RUNS.items() if category in self._all]
        # Asked once: the hash of a member of an enumeration is a call.
        self._has_names = not self._all.isdisjoint({Category.CREDENTIAL, Category.BEARER_TOKEN})
        self._has_numbers = not self._all.isdisjoint(PERSONAL)
        self._has_ipv4 = Category.IPV4 in self._all
        self._has_ipv6 = Category.IPV6 in self._all

    def find(self, data: bytes) -> frozenset[Category]:
        """Tell which categories may occur in JSON text, or in a plain text in UTF-8."""
        if b"\\u00" in data and _ESCAPED_ASCII.search(data):
            return self._all
        found = self._find_keys(data)
        if self._has_names:
            found += self._find_names(data)
        if self._has_numbers:
            found += self._find_numbers(data)
        return self._all.intersection(found) if found else _NONE

    def _find_keys(self, data: bytes) -> list[Category]:
        found = [Category.PRIVATE_KEY] if b"-----BEGIN" in data else []
        if self._literals and _SHORTEST_RUN in data.translate(_KEY_TO_A):
            # A few long words are all that is left of most texts.
            words = data.translate(_NO_KEY_TO_SPACE).split()
            long_words = b" ".join([word for word in words if len(word) >= len(_SHORTEST_RUN) and word not in _NO_KEYS])
            if long_words:
                found += [category for literal, category in self._literals if literal in long_words]
        return found

    def _find_names(self, data: bytes) -> list[Category]:
        joined = data.translate(_TO_LOWER, _BETWEEN_NAME_AND_VALUE)
        found = []
        for assignment in _ASSIGNMENTS:
            if assignment in joined:
                found.append(Category.CREDENTIAL)
                break
        if b"@" in data and b"://" in joined:
            found.append(Category.CREDENTIAL)
        if b"bearer" in joined or b"basic" in joined:
            found.append(Category.BEARER_TOKEN)
        return found

    def _find_numbers(self, data: bytes) -> list[Category]:
        found = [Category.EMAIL] if b"@" in data else []
        joined = data.translate(_DIGITS_TO_0, _BETWEEN_DIGITS)
        if b"000000" in joined:
            found += [category for category, run in self._runs if run in joined]
            if b"+" in data and b"0" * 8 in joined:
                found.append(Category.PHONE)
            if Category.IBAN in found and b"aa00" not in data.translate(_LETTERS_TO_A):
                found.remove(Category.IBAN)
        if self._has_ipv4 and (digits := data.translate(_DIGITS_TO_0)).count(b"0.0") > 1:
            groups = digits.replace(b"000", b"0").replace(b"00", b"0")
            if b"0.0.0.0" in groups:
                found.append(Category.IPV4)
        if self._has_ipv6 and (b"::" in data or b"0:0" in data.translate(_HEX_TO_0)):
            found.append(Category.IPV6)
        return found
