"""Finding in one plain text: all categories and rules, overlaps resolved, until nothing more is found."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import translate

from proxy.redaction.category import Category
from proxy.redaction.personal_shapes import NUMBER_SHAPES, find_cards, find_emails, find_phones
from proxy.redaction.placeholder import PLACEHOLDER
from proxy.redaction.rule import Rule
from proxy.redaction.secret_shapes import (
    BEARER_SHAPES,
    SECRET_SHAPES,
    find_credentials,
    find_private_keys,
    is_assigned_secret,
)
from proxy.redaction.shape import Match

Find = Callable[[str], Iterator[Match]]

_MAX_ROUNDS = 8
"""A round is worth it only where taking one match out uncovers another; built-in patterns need two."""
_SHORTEST = 3
_VAGUE = frozenset({Category.CREDENTIAL.name, Category.BEARER_TOKEN.name})
_FINDS: dict[Category, tuple[Find, ...]] = {
    Category.PRIVATE_KEY: (find_private_keys,),
    **{
        category: tuple(shape.find for shape in SECRET_SHAPES if shape.category is category)
        for category in dict.fromkeys(shape.category for shape in SECRET_SHAPES)
    },
    Category.BEARER_TOKEN: tuple(shape.find for shape in BEARER_SHAPES),
    Category.CREDENTIAL: (find_credentials,),
    Category.CARD: (find_cards,),
    Category.EMAIL: (find_emails,),
    Category.PHONE: (find_phones,),
    **{category: (shape.find,) for category, shape in NUMBER_SHAPES.items()},
}


class Finder:
    """What is looked for, and what is let be."""

    def __init__(self, rules: Iterable[Rule] = (), allow: Iterable[str] = ()) -> None:
        """Take the rules and the values that stay: exact, or globs, in whatever case."""
        self._rules = tuple(rules)
        patterns = "|".join(translate(glob) for glob in allow)
        self._allowed = re.compile(patterns, re.IGNORECASE) if patterns else None

    def find(self, text: str, categories: Collection[Category], name: str = "") -> list[Match]:
        """Find what is to go, in order and without overlaps.

        Placeholders that stand in the text divide it, and so does each match: what lies between is searched by
        itself until nothing is found. So a second run over the redacted text finds nothing more.

        Args:
            text: Decoded text.
            categories: Those that may occur; others are not looked for. Rules always are.
            name: The key under which the text stands alone, "" elsewhere.
        """
        found: list[Match] = []
        pieces = list(_between(text, [(each.start(), each.end()) for each in PLACEHOLDER.finditer(text)]))
        for _ in range(_MAX_ROUNDS):
            rest: list[tuple[int, int]] = []
            for start, end in pieces:
                piece = text[start:end]
                matches = self._search(piece, categories, name)
                if matches:
                    found += [match._replace(start=match.start + start, end=match.end + start) for match in matches]
                    spans = [(match.start, match.end) for match in matches]
                    rest += [(start + low, start + high) for low, high in _between(piece, spans)]
            if not rest:
                break
            pieces = rest
        return sorted(found)

    def _search(self, text: str, categories: Collection[Category], name: str) -> list[Match]:
        matches = [match for category in categories for find in _FINDS[category] for match in find(text)]
        matches += [match for rule in self._rules for match in rule.find(text)]
        if name and Category.CREDENTIAL in categories and is_assigned_secret(name, text):
            matches.append(Match(0, len(text), Category.CREDENTIAL.name, text))
        if not matches:
            return matches
        chosen: list[Match] = []
        for match in sorted(matches, key=_rank):
            is_free = not chosen or match.start >= chosen[-1].end
            if is_free and not self._is_allowed(text[match.start : match.end]):
                chosen.append(match)
        return chosen

    def _is_allowed(self, value: str) -> bool:
        return self._allowed is not None and self._allowed.match(value) is not None


def _rank(match: Match) -> tuple[int, int, bool, str]:
    """Sort by place; where two are equal, one vendor's shape says more than a name in front of it."""
    return match.start, -match.end, match.label in _VAGUE, match.label


def _between(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    position = 0
    for start, end in [*spans, (len(text), len(text))]:
        if start - position >= _SHORTEST or (start > position and not spans):
            yield position, start
        position = end
