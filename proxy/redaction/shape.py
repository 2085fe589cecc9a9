"""What a finder of one kind of value is made of."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from proxy.redaction.category import Category


class Match(NamedTuple):
    """A place in a text that is to be redacted.

    Attributes:
        label: What stands in the placeholder: a category's name or a rule's, in capitals.
        value: The datum in the one form in which all its writings meet.
    """

    start: int
    end: int
    label: str
    value: str


class Shape(NamedTuple):
    """One pattern of a category.

    Attributes:
        hint: A text that stands in every match, in lower case where `is_any_case`; "" when there is none.
        pattern: Bounded, or possessive and begun only where nothing of it stands before, so that it takes linear time
            over any text. A group named `value` is what goes; without one, all of the match.
        check: Tells whether a value is one.
        normal: Brings a value to its one form.
    """

    category: Category
    hint: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    normal: Callable[[str], str] = str

    def find(self, text: str) -> Iterator[Match]:
        """Find all in a text."""
        if self.hint not in text:
            return
        group = "value" if "value" in self.pattern.groupindex else 0
        label = self.category.name
        for match in self.pattern.finditer(text):
            value = match[group]
            if self.check is None or self.check(value):
                yield Match(match.start(group), match.end(group), label, self.normal(value))
