"""Rules of the configuration: patterns of one's own, matched by RE2, which takes linear time whatever pattern and text.

Python's engine can take minutes over one hostile line, and all traces would wait for it. So a rule is written in RE2's
syntax (no look-around, no references back), and the package `google-re2` is asked for only where there are rules.
"""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proxy.declaration import ENTRY_CONFIG, required
from proxy.errors import SettingsError
from proxy.redaction.category import Category
from proxy.redaction.shape import Match

_MAX_MEMORY_BYTES = 8 * 1024 * 1024
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class RedactRule:
    """One rule: what matches `pattern` becomes `[NAME_…]`."""

    __pydantic_config__ = ENTRY_CONFIG

    name: str = required(
        "Unique name: `a-z`, `0-9`, `_`; in capitals it stands in the placeholder, and in metrics.",
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
    )
    pattern: str = required(
        "Regular expression in RE2's syntax. With a group, the first group is what goes.",
        min_length=1,
        max_length=4096,
    )


class Rule:
    """A rule, compiled."""

    def __init__(self, rule: RedactRule) -> None:
        """Compile it.

        Raises:
            SettingsError: The pattern is none for RE2, matches the empty text, or RE2 is not installed.
        """
        if rule.name in set(Category):
            raise SettingsError(f"redact_rules: {rule.name!r} is a built-in category; name the rule otherwise.")
        self.label = rule.name.upper()
        re2 = _load_re2()
        options = re2.Options()
        options.max_mem = _MAX_MEMORY_BYTES
        options.log_errors = False
        try:
            self._pattern = re2.compile(rule.pattern, options)
        except re2.error as error:
            reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
            raise SettingsError(
                f"redact_rules: the pattern of {rule.name!r} is none for RE2 ({reason}); look-around and references "
                "back are not supported, \\z is the end of the text."
            ) from error
        if self._pattern.search("") is not None:
            raise SettingsError(
                f"redact_rules: the pattern of {rule.name!r} matches the empty text; make it need some."
            )
        self._group = 1 if self._pattern.groups else 0

    def find(self, text: str) -> Iterator[Match]:
        """Find all in a text; a match of nothing is none."""
        # RE2 reads UTF-8, which has no lone surrogates; one character stands for another, so places stay.
        readable = text if text.isascii() else _SURROGATE.sub("\ufffd", text)
        for match in self._pattern.finditer(readable):
            start, end = match.span(self._group)
            if end > start:
                yield Match(start, end, self.label, text[start:end])


def _load_re2() -> Any:  # noqa: ANN401 - the package has no types
    try:
        return importlib.import_module("re2")
    except ImportError as error:
        raise SettingsError(
            "redact_rules needs the package google-re2; pip install 'tracemill[redaction]' or leave the rules out."
        ) from error
