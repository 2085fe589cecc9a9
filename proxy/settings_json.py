"""Settings in force as JSON values and back: how our processes tell one another, the values being checked already."""

import types
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from proxy.declaration import Secret

T = TypeVar("T")
_HIDDEN = "**********"


def to_json(settings: object, *, in_the_clear: bool = False) -> dict[str, Any]:
    """Return the fields of settings, or of an entry of theirs, as JSON values; secrets only when asked for."""
    return {each.name: _told(getattr(settings, each.name), in_the_clear) for each in fields(settings)}  # type: ignore[arg-type]


def _told(value: Any, in_the_clear: bool) -> Any:  # noqa: ANN401 - a value of any setting
    if isinstance(value, Secret):
        return value.in_the_clear() if in_the_clear else _HIDDEN
    if is_dataclass(value):
        return to_json(value, in_the_clear=in_the_clear)
    if isinstance(value, tuple):
        return [_told(each, in_the_clear) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, Path | date) else value


def from_json(kind: type[T], told: dict[str, Any]) -> T:
    """Make settings, or an entry of theirs, of what `to_json` gave with its secrets in the clear."""
    kinds = get_type_hints(kind)
    return kind(**{name: _read(kinds[name], value) for name, value in told.items()})


def _read(kind: Any, value: Any) -> Any:  # noqa: ANN401 - a value of any setting
    if value is None:
        return None
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read(next(each for each in inner if each is not type(None)), value)
    if origin is tuple:
        return tuple(_read(inner[0], each) for each in value)
    if origin is not None:
        return value
    if is_dataclass(kind):
        return from_json(kind, value)  # type: ignore[arg-type]
    if kind is date:
        return date.fromisoformat(value)
    return kind(value) if issubclass(kind, Secret | Path | Decimal | Enum) else value
