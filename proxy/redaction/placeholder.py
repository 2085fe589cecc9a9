"""Placeholders: what stands in a trace where a secret or a personal datum was.

`[EMAIL_1f0c93ab]` is the category and the first 32 bits of a keyed hash of the value. So a value has one placeholder
wherever it occurs in a data directory, and calls that share a history still share it after redaction, although each is
redacted alone, in any order and perhaps twice. A counter (`[EMAIL_1]`) could not do that: the number of a value would
depend on which calls had come before. Without the key nobody can tell the value or try guesses.
"""

import re
from hashlib import blake2b

_DIGITS = 8
"""Two of a thousand values of one category share a placeholder by chance once in ten thousand data directories."""

PLACEHOLDER = re.compile(rf"\[[A-Z][A-Z0-9_]{{0,63}}_[0-9a-f]{{{_DIGITS}}}\]")


class Placeholders:
    """Makes the placeholders of one data directory."""

    def __init__(self, salt: bytes) -> None:
        """Begin with the data directory's salt; whoever has it can try guesses, so it is as secret as the traces."""
        self._salt = salt

    def make(self, label: str, value: str) -> str:
        """Give the placeholder of a value; `label` is a category's name or a rule's, in capitals."""
        text = f"{label}\n{value}".encode("utf-8", "surrogatepass")
        digest = blake2b(text, digest_size=_DIGITS // 2, key=self._salt, person=b"tracemill redact").hexdigest()
        return f"[{label}_{digest}]"
