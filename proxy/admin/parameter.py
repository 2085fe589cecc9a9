"""Parameters of a query: each declared once, read by it, and described by it in the OpenAPI document."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from starlette.datastructures import QueryParams

from proxy.admin.refusal import AdminRefusal, Code
from store.filter import Filter, parse_filter
from store.json_text import JsonValue

T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=StrEnum)

_SHOWN = 20
"""Characters of a wrong value that a message quotes."""


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T_co]):
    """One parameter of a query.

    Attributes:
        name: Its name in the query.
        meaning: What it says, for the reference.
        read: Makes the value of the text; raises `AdminRefusal` for a text that is none.
        default: The value when the query has no such parameter.
        schema: The text as JSON Schema.
    """

    name: str
    meaning: str
    read: Callable[[str], T_co]
    default: T_co
    schema: Mapping[str, JsonValue]


def text(name: str, meaning: str) -> Parameter[str | None]:
    """Declare a parameter of any text; empty is the same as left out."""
    return Parameter(name, meaning, lambda given: given or None, None, {"type": "string"})


def whole_number(name: str, meaning: str, *, low: int, high: int, default: int) -> Parameter[int]:
    """Declare a parameter of ASCII digits within bounds, both included."""

    def read(given: str) -> int:
        if not (given.isascii() and given.isdigit() and len(given) < 10 and low <= int(given) <= high):
            raise _wrong(name, given, f"a whole number from {low} to {high}")
        return int(given)

    return Parameter(
        name, meaning, read, default, {"type": "integer", "minimum": low, "maximum": high, "default": default}
    )


def share(name: str, meaning: str) -> Parameter[float | None]:
    """Declare a parameter that is a share between 0 and 1, both left out, or is left out itself."""

    def read(given: str) -> float:
        try:
            value = float(given) if given.isascii() and len(given) < _SHOWN else 0.0
        except ValueError:
            value = 0.0
        if not 0 < value < 1:
            raise _wrong(name, given, "a share between 0 and 1")
        return value

    schema: dict[str, JsonValue] = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return Parameter(name, meaning, read, None, schema)


def choice(name: str, meaning: str, kind: type[E], *, default: E) -> Parameter[E]:
    """Declare a parameter that has one of an enumeration's values."""
    schema = {**_choice_schema(kind), "default": default.value}
    return Parameter(name, meaning, lambda given: _chosen(name, kind, given), default, schema)


def optional_choice(name: str, meaning: str, kind: type[E]) -> Parameter[E | None]:
    """Declare a parameter that has one of an enumeration's values, or is left out."""
    return Parameter(name, meaning, lambda given: _chosen(name, kind, given), None, _choice_schema(kind))


def _chosen(name: str, kind: type[E], given: str) -> E:
    try:
        return kind(given)
    except ValueError as exc:
        raise _wrong(name, given, f"one of {', '.join(kind)}") from exc


def _choice_schema(kind: type[E]) -> dict[str, JsonValue]:
    return {"type": "string", "enum": [member.value for member in kind]}


def flag(name: str, meaning: str) -> Parameter[bool]:
    """Declare a parameter that is true or false, and false where it is left out."""

    def read(given: str) -> bool:
        if given.lower() not in ("true", "1", "false", "0"):
            raise _wrong(name, given, "true or false")
        return given.lower() in ("true", "1")

    return Parameter(name, meaning, read, False, {"type": "boolean", "default": False})


def _wrong(name: str, given: str, expected: str) -> AdminRefusal:
    return AdminRefusal(Code.INVALID_PARAMETER, f"{name} is {given[:_SHOWN]!r}; expected {expected}.", param=name)


WHERE: Parameter[Filter | None] = Parameter(
    "where",
    "Selects traces by an expression of the [filter language](filter.md); every trace without it.",
    lambda given: parse_filter(given) if given else None,
    None,
    {"type": "string"},
)
CURSOR = text(
    "cursor",
    "`next_cursor` of the page before. Pages neither repeat nor skip anything while more comes in.",
)
LIMIT = whole_number("limit", "Most entries of the page.", low=1, high=500, default=50)


def read_query(query: QueryParams, parameters: tuple[Parameter[object], ...]) -> dict[str, object]:
    """Give the value of each parameter by its name.

    Raises:
        AdminRefusal: A value cannot be, a parameter stands twice, or it means nothing here: it would be ignored in
            silence.
        FilterError: `where` cannot be understood.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in query:
        if name not in known:
            names = ", ".join(known) or "none"
            raise AdminRefusal(
                Code.INVALID_PARAMETER, f"There is no parameter {name[:80]!r} here; known are {names}.", param=name
            )
        if len(query.getlist(name)) > 1:
            raise AdminRefusal(Code.INVALID_PARAMETER, f"The parameter {name!r} stands twice.", param=name)
    return {
        name: parameter.read(query[name]) if name in query else parameter.default for name, parameter in known.items()
    }
