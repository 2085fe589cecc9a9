"""How settings are declared: in plain dataclasses, once each, with default, meaning and bounds.

The processes that serve take checked settings and never load the library that checks foreign ones. It reads the same
declarations: `metadata` holds what pydantic's `Field` takes, and the marks here show themselves to pydantic when asked.
"""

from collections.abc import Callable
from dataclasses import field
from typing import Any, Final

ENTRY_CONFIG: Final = {"extra": "forbid"}
"""`__pydantic_config__` of an entry: a key that is no field is refused."""
_LEAST_SECRET: Final = 16


def setting(default: Any, meaning: str, **bounds: Any) -> Any:  # noqa: ANN401 - stands in for a value of any type
    """Declare a field of a frozen dataclass of settings.

    Args:
        default: Its default; a dict is copied for each.
        meaning: What the reference page says of it.
        bounds: As pydantic's `Field` takes them: `ge`, `gt`, `le`, `min_length`, `pattern` and so on.
    """
    metadata = {"description": meaning, **bounds}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def required(meaning: str, **bounds: Any) -> Any:  # noqa: ANN401 - the same
    """Declare a field that has no default."""
    return field(metadata={"description": meaning, **bounds})


class Bounds:
    """Mark of a type in `Annotated`: bounds that stand inside a list, a mapping or beside None."""

    def __init__(self, **bounds: Any) -> None:  # noqa: ANN401 - as `setting` takes them
        self._bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """Give the schema of the type within these bounds."""
        return {**handler(source), **self._bounds}


class ReadBy:
    """Mark of a type in `Annotated`: what was given goes through a function before it is checked."""

    def __init__(self, read: Callable[[object], object]) -> None:
        self._read = read

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """Give the schema of the type behind the function."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self._read, handler(source))


class CheckedBy:
    """Mark of a type in `Annotated`: a function gives the value as it is kept, or raises ValueError."""

    def __init__(self, check: Callable[[Any], object]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """Give the schema of the type before the function."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))


class Secret:
    """A text that shows itself to nobody by mistake."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def in_the_clear(self) -> str:
        """Return the text itself."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('…')"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:  # noqa: ANN401 - pydantic's own
        """Give the schema of a text that is long enough to be none that can be guessed."""
        from pydantic_core import core_schema

        text = core_schema.str_schema(min_length=_LEAST_SECRET)
        return core_schema.no_info_after_validator_function(cls, text)
