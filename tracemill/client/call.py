"""What a client asks and how it reads the answer, as values: nothing here sends or waits.

An operation is declared once as a function that makes one of these; `Client` and `AsyncClient` both carry them out.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from tracemill.client.errors import AnswerError

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JSON = "application/json"
LINES = "application/x-ndjson"
BYTES = "application/octet-stream"
API = "/admin/api"
PAGE = 200
"""Entries of a page when a client walks through all of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        operation: Name of the operation in the OpenAPI document.
        method: HTTP method.
        path: Path from the admin side's root, quoted.
        query: Parameters; those that are None are left out.
        body: The body, whole or in blocks; None for none.
        media_type: What the body is.
    """

    operation: str
    method: str
    path: str
    query: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    body: bytes | Iterable[bytes] | None = None
    media_type: str = JSON

    def parameters(self) -> dict[str, str]:
        """Give the query as texts."""
        return {name: _written(value) for name, value in self.query.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request whose answer is read whole.

    Attributes:
        asked: The request.
        read: Makes the result of the answer's body; raises `AnswerError` for what is none.
    """

    asked: Asked
    read: Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class Lines:
    """A request that is answered by lines, which are given one by one as they come."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class Blocks:
    """A request that is answered by bytes, which are given block by block as they come."""

    asked: Asked


class Page(Protocol[T_co]):
    """Some entries, and where the next ones are."""

    @property
    def data(self) -> Sequence[T_co]:
        """The entries."""

    @property
    def next_cursor(self) -> str | None:
        """What the next page is asked with; None on the last."""


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """Entries that come page by page; `at` makes the call for the page at a cursor, None for the first."""

    at: Callable[[str | None], Call[Page[T]]]


def part(value: str) -> str:
    """Quote a value that stands for a part of a path; it may hold a slash.

    Raises:
        ValueError: It is none: empty, or what would lead to another path.
    """
    if not value or value in {".", ".."}:
        raise ValueError(f"{value!r} is no id.")
    return quote(value, safe="")


def as_shape(shape: type[M]) -> Callable[[bytes], M]:
    """Read JSON of a shape. Texts may hold lone surrogates, as calls may."""

    def read(body: bytes) -> M:
        try:
            return shape.model_validate(json.loads(body))
        except (ValueError, ValidationError, RecursionError) as exc:
            raise AnswerError(f"The answer is no {shape.__name__}: look at base_url, or at the versions.") from exc

    return read


def as_json(body: bytes) -> dict[str, object]:
    """Read a JSON object."""
    try:
        value = json.loads(body)
    except ValueError as exc:
        raise AnswerError("The answer is no JSON: look at base_url.") from exc
    if not isinstance(value, dict):
        raise AnswerError("The answer is no JSON object: look at base_url.")
    return value


def as_text(body: bytes) -> str:
    """Read text."""
    return body.decode("utf-8", "replace")


def _written(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
