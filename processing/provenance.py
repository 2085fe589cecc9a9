"""Which stored traces a question to a teacher is about, so that the answer goes when one of them is erased.

Stages work on conversations and examples, which know the traces they were made of; a question does not. What is worked
on at the moment therefore stands in a context variable, which tasks take along.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from processing.example import Conversation, Example

_ABOUT: ContextVar[frozenset[UUID]] = ContextVar("about", default=frozenset())


@contextmanager
def about(item: object) -> Iterator[None]:
    """Have the questions of the block be about an item; nested in another, about both."""
    token = _ABOUT.set(_ABOUT.get() | source_traces(item))
    try:
        yield
    finally:
        _ABOUT.reset(token)


def current_sources() -> frozenset[UUID]:
    """Give the traces that are worked on at the moment."""
    return _ABOUT.get()


def source_traces(item: object) -> frozenset[UUID]:
    """Give the stored traces that a conversation, an example or several of them were made of; an id is its own."""
    if isinstance(item, UUID):
        return frozenset({item})
    if isinstance(item, Conversation | Example):
        named = [item.source, *(turn.trace_id for turn in item.turns.values())]
        return frozenset(id_ for text in named if (id_ := _trace_id(text)) is not None)
    if isinstance(item, Sequence) and not isinstance(item, str | bytes):
        return frozenset().union(*(source_traces(each) for each in item))
    return frozenset()


def _trace_id(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
