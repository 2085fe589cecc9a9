r"""The filter language: which traces a list, an export or a job takes.

    model = gpt-4o and not outcome = completed
    created_at >= -7d and (tag.team in (search, "ad hoc") or session ~ "web-*")
    text ~ 'refund "next week"' and metadata.plan.tier = pro

Grammar, `not` binding closest, then `and`, then `or`:

    expression = term { "or" term }
    term       = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | condition
    condition  = field operator value | field [ "not" ] "in" "(" value { "," value } ")" | field

A field alone must be one of true or false. A value is a bare word, a text in single or double quotes with `\` before
a quote or backslash, or `null` for what is missing. `=` never holds for a missing field and `!=` always does; an order
or a glob (`~`, with `*`, `?` and `[...]`) never holds for one. Where a field may have several values, any of them may
match. Values always travel as parameters, never as SQL.

A filter says what holds (`sql`), and for the parts of a conjunction also how the traces for which they hold are found
without reading all (`conditions`); `store.filter_scan` chooses among those.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

from store.errors import FilterError
from store.filter_condition import (
    Condition,
    all_of,
    any_of,
    equal,
    glob,
    labelled,
    metadata,
    metadata_text,
    missing,
    negated,
    ordered,
    with_feedback,
)
from store.filter_fields import (
    FEEDBACK_PREFIX,
    FIELDS,
    METADATA_FIELD,
    METADATA_PREFIX,
    TAG_PREFIX,
    TEXT_FIELD,
    TRUTH,
    Field,
    Value,
    feedback_field,
    tag_field,
)
from store.filter_labels import Scalar, bare_scalars
from store.search_query import SearchQuery, SearchQueryError, phrase_query, words_query

_TOKEN = re.compile(
    r"""\s*+(?:
        (?P<text>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
      | (?P<operator>!=|<=|>=|=|<|>|~)
      | (?P<mark>[(),])
      | (?P<word>[^\s()=!<>~,"']++)
    )""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"\s*+")
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~", "in", "contains")
_KEYWORDS = frozenset({"and", "or", "not", "in"})
_NAMED: Mapping[str, Callable[[str], Field]] = {
    TAG_PREFIX: tag_field,
    FEEDBACK_PREFIX: feedback_field,
    METADATA_PREFIX: lambda _: METADATA_FIELD,
}
_NAMED_FIELDS = [f"{prefix}NAME" for prefix in _NAMED]
# SQLite refuses expressions deeper than 1000; a chain of `or` is as deep as it is long.
_MAX_COMPARISONS = 500
_MAX_NESTING = 100
# The work of a pattern grows with the text's length to the power of its stars.
_MAX_STARS = 6


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition over `traces t`.

    Attributes:
        sql: The condition; it holds nothing of what the expression's writer wrote but names of known fields.
        parameters: The values by parameter name, all beginning with `filter_`.
        expression: What was parsed.
        conditions: What has to hold together; all of them say what `sql` says.
        searches: What is looked for in texts, by the parameter that stands for the traces that have it: a JSON list of
            their numbers, which whoever runs the condition has to give.
    """

    sql: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    expression: str = ""
    conditions: tuple[Condition, ...] = ()
    searches: Mapping[str, SearchQuery] = field(default_factory=dict)


EVERYTHING = Filter("1")


def parse_filter(expression: str) -> Filter:
    """Read a filter expression; one of white space alone selects everything.

    Raises:
        FilterError: Tells where, what was found, and what is allowed there.
    """
    parser = _Parser(expression)
    if parser.token.kind == "end":
        return EVERYTHING
    condition = parser.expression()
    if parser.token.kind != "end":
        raise parser.error('"and", "or" or the end')
    return Filter(condition.sql, parser.parameters, expression, tuple(parser.all_of), parser.searches)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class _Named(NamedTuple):
    """A field as it was written, with the parameter and the text of the name after its dot."""

    written: str
    field: Field
    parameter: str = ""
    name: bytes = b""


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.parameters: dict[str, Value] = {}
        self.searches: dict[str, SearchQuery] = {}
        self.nesting = 0
        self.comparisons = 0
        self.all_of: list[Condition] = []
        self._end = 0
        self.token = self._read(0)

    def expression(self) -> Condition:
        parts = self._chain("or", self._term)
        joined = any_of(parts)
        if len(parts) > 1:
            self.all_of = [joined]
        return joined

    def _term(self) -> Condition:
        parts: list[Condition] = []
        flat: list[Condition] = []
        while not parts or self._accept("word", "and"):
            parts.append(self._factor())
            flat += self.all_of
        # The outermost conjunction is the last to end; one in parentheses inside it belongs to it.
        self.all_of = flat
        return all_of(parts)

    def _chain(self, keyword: str, part: Callable[[], Condition]) -> list[Condition]:
        parts = [part()]
        while self._accept("word", keyword):
            parts.append(part())
        return parts

    def _factor(self) -> Condition:
        self.nesting += 1
        if self.nesting > _MAX_NESTING:
            raise self.error(f"at most {_MAX_NESTING} levels of parentheses and nots")
        if self._accept("word", "not"):
            found = negated(self._factor())
            self.all_of = [found]
        elif self._accept("mark", "("):
            found = self.expression()
            self._expect(")")
        else:
            found = self._condition()
            self.all_of = [found]
        self.nesting -= 1
        return found

    def _condition(self) -> Condition:
        asked = self._field()
        if self._accept("word", "not"):
            if not self._accept("word", "in"):
                raise self.error('"in"')
            return negated(self._one_of(asked))
        operator = self._operator(asked)
        if operator is None:
            self._count_comparison()
            return Condition(f"{asked.field.sql[0]} = 1")
        if operator == "in":
            return self._one_of(asked)
        return self._compare(asked, operator)

    def _operator(self, asked: _Named) -> str | None:
        """Take an operator; None where a field stands alone that may."""
        allowed = asked.field.kind.operators
        text = self.token.text.lower()
        if self.token.kind == "operator" or (self.token.kind == "word" and text in ("in", "contains")):
            if text not in allowed:
                raise self.error(f"an operator that {asked.written} allows: {_listed(allowed)}")
            self._advance()
            return text
        if asked.field.kind is TRUTH:
            return None
        raise self.error(f"an operator after {asked.written}: {_listed(allowed)}")

    def _field(self) -> _Named:
        token = self.token
        if token.kind != "word" or token.text.lower() in _KEYWORDS:
            raise self.error("a field")
        for prefix, named in _NAMED.items():
            if token.text.startswith(prefix):
                return self._named(token, prefix, named)
        if token.text not in FIELDS:
            nearest = get_close_matches(token.text, [*FIELDS, *_NAMED_FIELDS], n=1)
            hint = f'did you mean "{nearest[0]}"? ' if nearest else ""
            known = ", ".join([*FIELDS, *_NAMED_FIELDS[:-1]])
            message = f'unknown field "{token.text}"; {hint}Fields are {known} and {_NAMED_FIELDS[-1]}.'
            raise FilterError(message, self.text, token.start + 1)
        self._advance()
        return _Named(token.text, FIELDS[token.text])

    def _named(self, token: _Token, prefix: str, named: Callable[[str], Field]) -> _Named:
        self._advance()
        name = token.text.removeprefix(prefix)
        # A quoted name stands right behind the dot; in a path, another dot may follow it at once.
        while self.token.start == self._end and (
            self.token.kind == "text" if not name or name.endswith(".") else self.token.text.startswith(".")
        ):
            name += _unquote(self.token.text) if self.token.kind == "text" else self.token.text
            self._advance()
        if not name:
            message = f'{prefix[:-1]} needs a name: {prefix}NAME or {prefix}"any name"'
            raise FilterError(message, self.text, token.start + 1)
        text = name.encode("utf-8", "surrogatepass")
        parameter = self._bind(text)
        return _Named(prefix + name, named(parameter), parameter, text)

    def _one_of(self, asked: _Named) -> Condition:
        self._expect("(")
        parts = [self._compare(asked, "=")]
        while self._accept("mark", ","):
            parts.append(self._compare(asked, "="))
        self._expect(")")
        return any_of(parts)

    def _count_comparison(self) -> None:
        self.comparisons += 1
        if self.comparisons > _MAX_COMPARISONS:
            message = f"more than {_MAX_COMPARISONS} comparisons; split the filter"
            raise FilterError(message, self.text, self.token.start + 1)

    def _compare(self, asked: _Named, operator: str) -> Condition:
        self._count_comparison()
        if asked.field is FIELDS[TEXT_FIELD]:
            return self._search(operator)
        if asked.field is METADATA_FIELD:
            return self._compare_metadata(asked, operator)
        if operator == "~":
            return glob(asked.field, self._pattern(asked))
        if operator in ("=", "!="):
            found = self._equal(asked)
            return found if operator == "=" else negated(found)
        parameter, value = self._value(asked)
        found = ordered(asked.field, operator, parameter, value, self._bind)
        return self._with_feedback(asked, found, f"e.score {operator} :{parameter}")

    def _equal(self, asked: _Named) -> Condition:
        if asked.field.kind.null and self._accept("word", "null"):
            return missing(asked.field)
        parameter, value = self._value(asked)
        found = equal(asked.field, parameter, value, asked.name, self._bind)
        return self._with_feedback(asked, found, f"e.score = :{parameter}")

    def _with_feedback(self, asked: _Named, found: Condition, comparison: str) -> Condition:
        is_feedback = asked.written.startswith(FEEDBACK_PREFIX)
        return with_feedback(found, asked.parameter, comparison) if is_feedback else found

    def _compare_metadata(self, asked: _Named, operator: str) -> Condition:
        if operator == "~":
            return glob(metadata_text(asked.parameter), self._pattern(asked))
        is_equality = operator in ("=", "!=")
        if is_equality and self._accept("word", "null"):
            found = metadata(asked.parameter, "null", asked.parameter)
            return found if operator == "=" else negated(found)
        token = self.token
        values = self._metadata_values(asked)
        if not is_equality and not any(type(value) in (int, float) for value in values):
            message = f"{asked.written} cannot be {operator} {token.text}; expected a number."
            raise FilterError(message, self.text, token.start + 1)
        # A quoted text is a text; a bare word is a text, a number or a truth: one of these it is in the metadata.
        quoted = values[0] if token.kind == "text" else token.text
        found = metadata(asked.parameter, "=" if is_equality else operator, self._bind(quoted))
        if not is_equality:
            return found
        streams = labelled(b"metadata", asked.name, values, self._bind)
        return Condition(found.sql, streams) if operator == "=" else negated(found)

    def _metadata_values(self, asked: _Named) -> list[Scalar]:
        token = self.token
        text = self._value_text(asked.written)
        values: list[Scalar] = [text.encode("utf-8", "surrogatepass")]
        return values if token.kind == "text" else [*values, *bare_scalars(text)]

    def _search(self, operator: str) -> Condition:
        token = self.token
        text = self._value_text(TEXT_FIELD)
        try:
            query = words_query(text) if operator == "~" else phrase_query(text)
        except SearchQueryError as exc:
            raise FilterError(f"text cannot be searched: {exc}.", self.text, token.start + 1) from exc
        parameter = f"search_{len(self.searches)}"
        self.searches[parameter] = query
        sql = f"t.number IN (SELECT value FROM json_each(:{parameter}))"  # noqa: S608 - a name of ours
        return Condition(sql, words=(parameter,), is_search=True)

    def _pattern(self, asked: _Named) -> str:
        token = self.token
        pattern = self._value_text(asked.written)
        if pattern.count("*") > _MAX_STARS:
            message = f"a pattern has at most {_MAX_STARS} stars"
            raise FilterError(message, self.text, token.start + 1)
        return self._bind(pattern.encode("utf-8", "surrogatepass"))

    def _value(self, asked: _Named) -> tuple[str, Value]:
        token = self.token
        text = self._value_text(asked.written)
        try:
            value = asked.field.kind.read(text)
        except (ValueError, KeyError, OverflowError) as exc:
            message = f"{asked.written} cannot be {token.text}; expected {asked.field.kind.expects}."
            raise FilterError(message, self.text, token.start + 1) from exc
        return self._bind(value), value

    def _value_text(self, name: str) -> str:
        token = self.token
        if token.kind not in ("word", "text"):
            raise self.error(f"a value for {name}")
        self._advance()
        return _unquote(token.text) if token.kind == "text" else token.text

    def _bind(self, value: Value) -> str:
        parameter = f"filter_{len(self.parameters)}"
        self.parameters[parameter] = value
        return parameter

    def _accept(self, kind: str, text: str) -> bool:
        if self.token.kind == kind and self.token.text.lower() == text:
            self._advance()
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._accept("mark", mark):
            raise self.error(f'"{mark}"')

    def _advance(self) -> None:
        self._end = self.token.end
        self.token = self._read(self.token.end)

    def _read(self, start: int) -> _Token:
        match = _TOKEN.match(self.text, start)
        if match is not None and match.lastgroup is not None:
            return _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup), match.end())
        blank = _BLANK.match(self.text, start)
        position = blank.end() if blank else start
        if position == len(self.text):
            return _Token("end", "", position, position)
        what = "a quote that is never closed" if self.text[position] in "\"'" else f'"{self.text[position]}"'
        raise FilterError(f"found {what}; expected a field, an operator or a value.", self.text, position + 1)

    def error(self, expected: str) -> FilterError:
        found = f'"{self.token.text}"' if self.token.kind != "end" else "the end"
        return FilterError(f"found {found}; expected {expected}.", self.text, self.token.start + 1)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _listed(operators: frozenset[str]) -> str:
    return " ".join(operator for operator in _OPERATORS if operator in operators)
