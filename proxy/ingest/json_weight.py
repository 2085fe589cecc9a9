"""How much work a JSON text is: its values, counted without parsing.

20 MB of `{}` are seven million objects: half a minute of parsing, hashing and storing, and a gigabyte, in which nobody
else's trace is stored. So what is too much is refused by a count of the characters that make values, which costs
milliseconds. Ordinary text is cheap however long it is, for what stands inside strings does not count.
"""

import re

# The closing quote may be missing: a text of escaped quotes without an end would be searched anew from each of them.
_STRING = re.compile(rb'"[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+"?')


def has_more_values(text: bytes, bound: int) -> bool:
    """Tell whether a JSON text holds more than about this many values."""
    if len(text) <= bound or count_values(text) <= bound:
        return False
    values = end = 0
    for string in _STRING.finditer(text):
        values += _count(text, end, string.start())
        if values > bound:
            return True
        end = string.end()
    return values + _count(text, end, len(text)) > bound


def count_values(text: bytes) -> int:
    """Count the values of a text as if its strings held some, too: at least as many as it has."""
    return _count(text, 0, len(text))


def weigh(block: bytes) -> int:
    """Count the values in a block of a stream; one that is cut in a string counts that line's text, too."""
    outside = _STRING.sub(b"", block)
    return count_values(outside)


def _count(text: bytes, start: int, end: int) -> int:
    return text.count(b",", start, end) + text.count(b"[", start, end) + text.count(b"{", start, end)
