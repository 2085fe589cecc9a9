r"""The filter language: which traces a list, an export or a job takes.

    model = gpt-4o and not outcome = completed
    created_at >= 2026-01-31 and (tag.team in (search, "ad hoc") or session ~ "web-*")
    complete and finish_reason != null and prompt_tokens < 4000

Grammar, `not` binding closest, then `and`, then `or`:

    expression = term { "or" term }
    term       = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | condition
    condition  = field operator value | field [ "not" ] "in" "(" value { "," value } ")" | field

A field alone must be one of true or false. A value is a bare word, a text in single or double quotes with `\` before
a quote or backslash, or `null` for what is missing. `=` never holds for a missing field and `!=` always does; an order
or a glob (`~`, with `*`, `?` and `[...]`) never holds for one. Values always travel as parameters, never as SQL.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

from store.errors import FilterError
from store.filter_fields import FIELDS, TAG_PREFIX, TRUTH, Field, Value, tag_field

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
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~", "in")
_KEYWORDS = frozenset({"and", "or", "not", "in"})
# SQLite refuses expressions deeper than 1000; a chain of `or` is as deep as it is long.
_MAX_COMPARISONS = 500
_MAX_NESTING = 100


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition over `traces t`.

    Attributes:
        sql: The condition; it holds nothing of what the expression's writer wrote but names of known fields.
        parameters: The values by parameter name, all beginning with `filter_`.
        expression: What was parsed.
        either: Two conditions that together say what `sql` says and never hold both; empty where there is none. A model
            may match in two columns, and SQLite cannot give what two indexes find in the order of time: it would read
            and sort half the table for one page.
    """

    sql: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    expression: str = ""
    either: tuple[str, ...] = ()


EVERYTHING = Filter("1")


def parse_filter(expression: str) -> Filter:
    """Read a filter expression; one of white space alone selects everything.

    Raises:
        FilterError: Tells where, what was found, and what is allowed there.
    """
    parser = _Parser(expression)
    if parser.token.kind == "end":
        return EVERYTHING
    sql = parser.expression()
    if parser.token.kind != "end":
        raise parser.error('"and", "or" or the end')
    return Filter(sql, parser.parameters, expression, parser.either())


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.parameters: dict[str, Value] = {}
        self.nesting = 0
        self.comparisons = 0
        self.all_of: list[str] = []
        self.pairs: dict[str, list[str]] = {}
        self.token = self._read(0)

    def expression(self) -> str:
        parts = self._chain("or", self._term)
        if len(parts) > 1:
            self.all_of = []
        return _joined("OR", parts)

    def either(self) -> tuple[str, ...]:
        """Part the whole expression in two, where it is a conjunction with a field that may match in two columns."""
        for place, condition in enumerate(self.all_of):
            if condition in self.pairs:
                one, other = self.pairs[condition]
                rest = self.all_of[:place] + self.all_of[place + 1 :]
                return _joined("AND", [one, *rest]), _joined("AND", [other, f"NOT {one}", *rest])
        return ()

    def _term(self) -> str:
        parts = self._chain("and", self._factor)
        # The outermost conjunction is the last to end.
        self.all_of = parts
        return _joined("AND", parts)

    def _chain(self, keyword: str, part: Callable[[], str]) -> list[str]:
        parts = [part()]
        while self._accept("word", keyword):
            parts.append(part())
        return parts

    def _factor(self) -> str:
        self.nesting += 1
        if self.nesting > _MAX_NESTING:
            raise self.error(f"at most {_MAX_NESTING} levels of parentheses and nots")
        if self._accept("word", "not"):
            sql = f"NOT {self._factor()}"
        elif self._accept("mark", "("):
            sql = self.expression()
            self._expect(")")
        else:
            sql = self._condition()
        self.nesting -= 1
        return sql

    def _condition(self) -> str:
        name, asked = self._field()
        if self._accept("word", "not"):
            if not self._accept("word", "in"):
                raise self.error('"in"')
            return f"NOT {self._one_of(name, asked)}"
        if self._accept("word", "in"):
            return self._one_of(name, asked)
        if self.token.kind != "operator":
            if asked.kind is TRUTH:
                self._count_comparison()
                return f"{asked.sql[0]} = 1"
            raise self.error(f"an operator after {name}: {' '.join(_OPERATORS)}")
        operator = self.token.text
        if operator not in asked.kind.operators:
            raise self.error(f"an operator that {name} allows: {_listed(asked.kind.operators)}")
        self._advance()
        return self._compare(name, asked, operator)

    def _field(self) -> tuple[str, Field]:
        token = self.token
        if token.kind != "word" or token.text.lower() in _KEYWORDS:
            raise self.error("a field")
        if token.text.startswith(TAG_PREFIX):
            return self._tag(token)
        if token.text not in FIELDS:
            nearest = get_close_matches(token.text, [*FIELDS, "tag.NAME"], n=1)
            hint = f'did you mean "{nearest[0]}"? ' if nearest else ""
            raise FilterError(
                f'unknown field "{token.text}"; {hint}Fields are {", ".join(FIELDS)} and tag.NAME.',
                self.text,
                token.start + 1,
            )
        self._advance()
        return token.text, FIELDS[token.text]

    def _tag(self, token: _Token) -> tuple[str, Field]:
        self._advance()
        name = token.text.removeprefix(TAG_PREFIX)
        if not name and self.token.kind == "text" and self.token.start == token.end:
            name = _unquote(self.token.text)
            self._advance()
        if not name:
            raise FilterError('a tag needs its name: tag.NAME or tag."any name"', self.text, token.start + 1)
        return TAG_PREFIX + name, tag_field(self._bind(name.encode("utf-8", "surrogatepass")))

    def _one_of(self, name: str, asked: Field) -> str:
        self._expect("(")
        parts = [self._compare(name, asked, "=")]
        while self._accept("mark", ","):
            parts.append(self._compare(name, asked, "="))
        self._expect(")")
        return "(" + " OR ".join(parts) + ")"

    def _count_comparison(self) -> None:
        self.comparisons += 1
        if self.comparisons > _MAX_COMPARISONS:
            message = f"more than {_MAX_COMPARISONS} comparisons; split the filter"
            raise FilterError(message, self.text, self.token.start + 1)

    def _compare(self, name: str, asked: Field, operator: str) -> str:
        self._count_comparison()
        if operator == "~":
            pattern = self._bind(self._value_text(name).encode("utf-8", "surrogatepass"))
            parts = [f"coalesce(CAST({sql} AS TEXT) GLOB CAST(:{pattern} AS TEXT), 0)" for sql in asked.sql]
        elif operator in ("=", "!="):
            value = self._value(name, asked)
            parts = [_equal(sql, value, asked) for sql in asked.sql]
        else:
            value = self._value(name, asked, allow_null=False)
            order = f"{{}} {operator} {value}" if not asked.kind.null else f"coalesce({{}} {operator} {value}, 0)"
            parts = [order.format(sql) for sql in asked.sql]
        # A field kept twice is missing only when both are.
        joint = " AND " if operator != "~" and parts[0].endswith(" IS NULL") else " OR "
        sql = parts[0] if len(parts) == 1 else "(" + joint.join(parts) + ")"
        if len(parts) > 1 and operator == "=" and joint == " OR ":
            self.pairs[sql] = parts
        return f"NOT ({sql})" if operator == "!=" else sql

    def _value(self, name: str, asked: Field, *, allow_null: bool = True) -> str:
        token = self.token
        if allow_null and asked.kind.null and token.kind == "word" and token.text.lower() == "null":
            self._advance()
            return "NULL"
        text = self._value_text(name)
        try:
            return ":" + self._bind(asked.kind.read(text))
        except (ValueError, KeyError, OverflowError) as exc:
            raise FilterError(
                f"{name} cannot be {token.text}; expected {asked.kind.expects}.", self.text, token.start + 1
            ) from exc

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


def _joined(keyword: str, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else "(" + f" {keyword} ".join(parts) + ")"


def _equal(sql: str, value: str, asked: Field) -> str:
    """Compare so that a missing value is unequal, and never unknown, which no `NOT` could turn round."""
    if value == "NULL" or sql.startswith("("):
        return f"{sql} IS {value}"
    # The indexes leave out what is missing; SQLite takes one only where it is said that nothing missing is asked for.
    return f"({sql} = {value} AND {sql} IS NOT NULL)" if asked.kind.null else f"{sql} = {value}"


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _listed(operators: frozenset[str]) -> str:
    return " ".join(operator for operator in _OPERATORS if operator in operators)
