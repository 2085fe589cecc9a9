"""Redactors over a fixed salt."""

from collections.abc import Collection

from proxy.redaction.category import Category
from proxy.redaction.redactor import Redactor
from proxy.redaction.rule import RedactRule, Rule

SALT = bytes(range(16))


def redactor(
    categories: Collection[Category] = frozenset(Category), *rules: tuple[str, str], allow: tuple[str, ...] = ()
) -> Redactor:
    compiled = [Rule(RedactRule(name=name, pattern=pattern)) for name, pattern in rules]
    return Redactor(frozenset(categories), salt=SALT, rules=compiled, allow=allow)
